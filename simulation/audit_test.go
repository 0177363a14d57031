package simulation

import (
	"testing"
	"time"
)

// Audits go on beside everything that happens to a shard, and never accuse a replica that is right: that would be a quarantine, which
// the simulator takes for a violation.
func TestAudits(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	for _, profile := range []string{"crashy", "partitions", "snapshots", "everything"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			var total Counters
			for seed := range seeds {
				result := run(t, Options{Seed: 7000 + seed, Profile: profile, LogDB: modelLogDB, Duration: 20 * time.Second, Audit: 500 * time.Millisecond})
				total.Merge(&result.Counters)
			}
			if audited, _ := total.Value("audited"); audited < 200*seeds {
				t.Errorf("%d checksums in %d seeds", audited, seeds)
			}
		})
	}
}
