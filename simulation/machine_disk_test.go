package simulation

import (
	"context"
	"fmt"
	"testing"

	"github.com/flotilla-raft/flotilla/rsm"
)

// After a power cut a machine on disk is as it was after some Update at or behind its last Sync, with the sessions of then, and goes on from there;
// whatever of its journal was kept, and however often that happens.
func TestDiskMachineAfterPowerCuts(t *testing.T) {
	setBack, whole := 0, 0
	for seed := range uint64(30) {
		r := random{state: seed}
		w := &World{options: Options{Profile: "calm"}, plan: plan{machineKinds: []machineKind{machineOnDisk}}}
		h := &host{world: w, machines: newMachineFiles()}
		s := &shard{world: w, id: 1, machineKind: machineOnDisk}
		for index := range uint64(600) {
			s.commands = append(s.commands, command{operation: 1, state: mix(index + 1)})
		}
		p := &place{host: h, shard: s}
		h.places = []*place{p}
		wrote, synced := uint64(0), uint64(0)
		for range 20 {
			h.up = true
			h.life++
			if err := h.machines.begin(&r); err != nil {
				t.Fatal(err)
			}
			m := &keeperMachine{newDiskMachine(&machine{world: w, host: h, shard: s})}
			applied, err := m.Open(context.Background())
			if err != nil || applied < synced || applied > wrote {
				t.Fatalf("seed %d: opened at %d, %v: synced at %d, written up to %d", seed, applied, err, synced, wrote)
			}
			if v := w.violation; v != nil {
				t.Fatal(v)
			}
			wantState(t, m, applied)
			if applied < wrote {
				setBack++
			} else {
				whole++
			}
			wrote = applied
			for range r.below(30) {
				wrote++
				m.index, m.applied, m.state, m.values[wrote%keyCount] = wrote, wrote, mix(wrote), register{wrote, mix(wrote)}
				writes := sessionWritesAt(wrote)
				m.keep(writes)
				if err := m.write(recordUpdate, writes); err != nil {
					t.Fatal(err)
				}
				if r.chance(0.1) {
					if err := m.Sync(); err != nil {
						t.Fatal(err)
					}
					if synced = wrote; p.synced != wrote {
						t.Fatalf("synced at %d, want %d", p.synced, wrote)
					}
				}
			}
			h.machines.crash()
			h.up = false
		}
	}
	if setBack < 50 || whole < 50 {
		t.Errorf("%d power cuts took something, %d nothing", setBack, whole)
	}
}

// sessionWritesAt are what an Update writes of sessions: one record is replaced each time, another one comes, and one goes.
func sessionWritesAt(index uint64) []rsm.SessionWrite {
	return []rsm.SessionWrite{
		{Key: []byte("the last one"), Value: fmt.Append(nil, index)}, {Key: fmt.Append(nil, "call ", index), Value: make([]byte, index%50)},
		{Key: fmt.Append(nil, "call ", index-min(index, 3)), Delete: true},
	}
}

func wantState(t *testing.T, m *keeperMachine, applied uint64) {
	t.Helper()
	want := map[string]int{}
	if applied > 0 {
		want["the last one"] = len(fmt.Sprint(applied))
		for i := applied; i > 0 && i+3 > applied; i-- {
			want[fmt.Sprint("call ", i)] = int(i % 50)
		}
		if m.index != applied || m.state != mix(applied) || m.values[applied%keyCount] != (register{applied, mix(applied)}) {
			t.Fatalf("opened at %d with the state of %d", applied, m.index)
		}
	}
	got := 0
	if err := m.LoadSessions(func(key, value []byte) error {
		got++
		if length, ok := want[string(key)]; !ok || length != len(value) {
			return fmt.Errorf("opened at %d with %q of %d bytes", applied, key, len(value))
		}
		return nil
	}); err != nil || got != len(want) {
		t.Fatalf("%d records of sessions at %d, want %d: %v", got, applied, len(want), err)
	}
}
