package simulation

import (
	"testing"
	"time"
)

// Some seeds on the segmented log hold every property, and together they meet every fault of files and everything that may become of one.
func TestSeglog(t *testing.T) {
	var total Counters
	missing := func() (list []counter) {
		for kind := firstFileFault; kind < firstSnapshotFault; kind++ {
			if total[kind] == 0 && kind != countTailDamaged && kind != countRefusedDisk { // rare, and nearly never
				list = append(list, kind)
			}
		}
		return list
	}
	for seed := uint64(0); seed < 8 || seed < 40 && len(missing()) > 0; seed++ {
		for _, profile := range []string{"disks", "everything"} {
			result := run(t, Options{Seed: seed, Profile: profile, LogDB: seglogLogDB, Duration: 15 * time.Second, NoPorcupine: true})
			total.Merge(&result.Counters)
		}
	}
	t.Log(&total)
	if list := missing(); len(list) > 0 {
		t.Errorf("never occurred: %v", names(list))
	}
}

// The segmented log has no goroutines here, and what a power cut leaves of its files is drawn: so the same seed is the same run to the last byte.
func TestSeglogSameSeedSameRun(t *testing.T) {
	for seed := range uint64(3) {
		options := Options{Seed: seed, Profile: "everything", LogDB: seglogLogDB, Duration: 10 * time.Second, NoPorcupine: true}
		first, second := run(t, options), run(t, options)
		if first.Hash != second.Hash || first.Records != second.Records || first.Counters != second.Counters {
			t.Errorf("seed %d: trace %x with %d records, then %x with %d", seed, first.Hash, first.Records, second.Hash, second.Records)
		}
	}
}

// With syncs that do nothing a power cut loses what was durable, and that is found.
func TestSeglogWithoutSyncs(t *testing.T) {
	for seed := range uint64(10) {
		result, err := Run(Options{Seed: seed, Profile: "crashy", LogDB: seglogLogDB, Duration: 20 * time.Second, NoPorcupine: true, ignoreSyncs: true})
		if err != nil {
			t.Fatal(err)
		}
		if v := result.Violation; v != nil {
			if v.Property != "durability" {
				t.Errorf("seed %d: %v", seed, v)
			}
			return
		}
	}
	t.Error("nothing was noticed")
}
