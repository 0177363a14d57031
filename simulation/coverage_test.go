package simulation

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// covered are the parts of the world that not every run has.
var covered = []struct {
	what string
	in   func(p *profile, w *World) bool
}{
	{"state machines in memory", ofMachine(machineMemory)},
	{"concurrent ones", ofMachine(machineConcurrent)},
	{"ones on disk", ofMachine(machineOnDisk)},
	{"ones on disk without sessions", ofMachine(machineOnDiskBare)},
	{"snapshots, compaction, streams", func(_ *profile, w *World) bool { return w.plan.snapshots.every > 0 }},
	{"client sessions", func(_ *profile, w *World) bool { return w.sessions != nil }},
	{"witnesses", inShard(func(s *shard) bool { return len(s.kinds) > 0 })},
	{"members added as learners, promoted, demoted, removed, also several at once by a joint membership", inShard(func(s *shard) bool { return s.spares })},
	{"changes that are canceled", ofFault(countCancelChange)},
	{"hand-overs of leadership", ofFault(countTransfer)},
	{"priorities", func(_ *profile, w *World) bool { return len(w.plan.priorities) > 0 }},
	{"reads under leases", func(_ *profile, w *World) bool { return w.plan.leases }},
	{"timeouts that are changed", ofFault(countNewTimeouts)},
	{"replicas that are stopped and started", ofFault(countReplicaStop)},
	{"data that is removed", ofFault(countRemove)},
	{"disks that are lost, or put back older", ofFault(countWipe)},
	{"full disks", ofFault(countFullDisk)},
	{"state machines that fail, replicas that are fenced", ofFault(countMachineFails)},
	{"state machines on disk whose files fail", func(_ *profile, w *World) bool {
		_, drawn := w.drawMachineFaults()
		return drawn
	}},
	{"segmented logs with several lanes", func(_ *profile, w *World) bool {
		return slices.ContainsFunc(w.hosts, func(h *host) bool { return h.disk.lanes > 1 })
	}},
	{"repairs, of running and of stopped replicas", ofAct(countRepair)},
	{"exports and imports", ofAct(countImport)},
	{"recoveries from a survivor", ofAct(countRecover)},
}

func ofMachine(kind machineKind) func(*profile, *World) bool {
	return inShard(func(s *shard) bool { return s.machineKind == kind })
}

func inShard(has func(*shard) bool) func(*profile, *World) bool {
	return func(_ *profile, w *World) bool { return slices.ContainsFunc(w.shards, has) }
}

func ofFault(kind counter) func(*profile, *World) bool {
	return func(p *profile, _ *World) bool { return p.rates[kind] > 0 }
}

func ofAct(kind counter) func(*profile, *World) bool {
	return func(p *profile, _ *World) bool { return actRates[p.name][kind-firstAct] > 0 }
}

// What docs/proof.md says of what the worlds of each profile have is what is drawn, and the segmented log is beneath all of them.
func TestWhatProfilesCover(t *testing.T) {
	const seeds = 40
	page, err := os.ReadFile("../docs/proof.md")
	if err != nil {
		t.Fatal(err)
	}
	where := make([][]string, len(covered))
	for i := range profiles {
		p := &profiles[i]
		counts := make([]int, len(covered))
		for seed := range uint64(seeds) {
			options := Options{Seed: seed, Profile: p.name}
			options.setDefaults()
			if options.LogDB != seglogLogDB {
				t.Fatal("the log store of a run is", options.LogDB)
			}
			w := newWorld(options, nil)
			for row := range covered {
				if covered[row].in(p, w) {
					counts[row]++
				}
			}
			w.release()
		}
		for row, n := range counts {
			if n > 0 {
				where[row] = append(where[row], p.name)
			}
		}
	}
	for row := range covered {
		list := strings.Join(where[row], ", ")
		if len(where[row]) == len(profiles) {
			list = "all"
		}
		if line := "| " + covered[row].what + " | " + list + " |\n"; !strings.Contains(string(page), line) {
			t.Errorf("docs/proof.md lacks %q", line)
		}
	}
}
