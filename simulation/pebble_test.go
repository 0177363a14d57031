package simulation

import (
	"testing"
	"time"
)

// Some seeds with the store on Pebble hold every property, and together they meet every fault of files and everything that may
// become of one.
func TestPebble(t *testing.T) {
	var total Counters
	for seed := range uint64(6) {
		for _, profile := range []string{"disks", "everything"} {
			result := run(t, Options{Seed: seed, Profile: profile, LogDB: pebbleLogDB, Duration: 20 * time.Second})
			total.Merge(&result.Counters)
		}
	}
	t.Log(&total)
	for kind := firstFileFault; kind < counterCount; kind++ {
		if total[kind] == 0 {
			t.Errorf("%s never occurred", counterNames[kind])
		}
	}
}
