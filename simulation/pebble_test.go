package simulation

import (
	"slices"
	"testing"
	"time"
)

// Some seeds with the store on Pebble hold every property, and together they meet every fault of files and everything that may
// become of one.
func TestPebble(t *testing.T) {
	var total Counters
	missing := func() (list []counter) {
		for kind := firstFileFault; kind < countCutApart; kind++ {
			if total[kind] == 0 && kind != countTailDamaged { // rare
				list = append(list, kind)
			}
		}
		return list
	}
	for seed := uint64(0); seed < 12 || seed < 60 && len(missing()) > 0; seed++ {
		for _, profile := range []string{"disks", "everything"} {
			result := run(t, Options{Seed: seed, Profile: profile, LogDB: pebbleLogDB, Duration: 15 * time.Second, NoPorcupine: true})
			total.Merge(&result.Counters)
		}
	}
	t.Log(&total)
	if list := missing(); len(list) > 0 {
		t.Errorf("never occurred: %v", names(list))
	}
}

// Each kind of fault alone occurs, and has the outcome that is demanded of it, in runs without a violation: what was acknowledged is
// there; or the store refuses, or the replica does, and the others serve on.
func TestPebbleFaults(t *testing.T) {
	damage := []counter{countRefusedDisk, countDamagedLog, countTailDamaged}
	for _, test := range []struct {
		fault   counter   // the only one there is
		seen    []counter // that it occurred: each of them
		outcome []counter // what has to come of it: one of them
	}{
		{countCrash, []counter{countTornWrite, countPartlyKept, countLostName, countCutOpen}, []counter{countLostWrites}},
		{countFailedSync, []counter{countFileSyncFailed}, []counter{countUnknown}},
		{countNoSpace, []counter{countNoSpace}, []counter{countUnknown}},
		{countFlippedBit, []counter{countFlippedBit}, damage},
		{countZeroedSector, []counter{countZeroedSector}, damage},
		{countLostFileWrite, []counter{countLostFileWrite}, damage},
		{countMisdirected, []counter{countMisdirected}, damage},
		{countStall, []counter{countStall}, []counter{countAnswered}},
		{countSlowDisk, []counter{countSlowDisk}, []counter{countAnswered}},
	} {
		t.Run(counterNames[test.fault], func(t *testing.T) {
			t.Parallel()
			var without []string
			for _, name := range Faults() {
				if name != counterNames[test.fault] {
					without = append(without, name)
				}
			}
			var total Counters
			occurred := func(c counter) bool { return total[c] > 0 }
			for seed := range uint64(40) {
				result := run(t, Options{Seed: seed, Profile: "disks", Hosts: 5, LogDB: pebbleLogDB, Duration: 20 * time.Second, Rate: 100,
					Without: without, NoPorcupine: true})
				total.Merge(&result.Counters)
				if !slices.ContainsFunc(test.seen, func(c counter) bool { return !occurred(c) }) && slices.ContainsFunc(test.outcome, occurred) {
					return
				}
			}
			t.Errorf("not seen: all of %v and one of %v\n%v", names(test.seen), names(test.outcome), &total)
		})
	}
}

func names(counters []counter) (list []string) {
	for _, c := range counters {
		list = append(list, counterNames[c])
	}
	return list
}

// With syncs that do nothing a power cut loses what was durable, and that is found.
func TestPebbleWithoutSyncs(t *testing.T) {
	for seed := range uint64(10) {
		result, err := Run(Options{Seed: seed, Profile: "crashy", LogDB: pebbleLogDB, Duration: 20 * time.Second, NoPorcupine: true, ignoreSyncs: true})
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
