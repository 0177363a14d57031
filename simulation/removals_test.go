package simulation

import (
	"testing"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// A snapshot behind which a log begins anew, and the removal of that log, are both under way when the power goes: nothing, the first, or both may be
// there afterwards. The first alone was taken for a log that the replica never held.
func TestAPowerCutMayLeaveWhatARemovalWasToRemove(t *testing.T) {
	const installed = 9
	for _, lanes := range []int{1, maxLanes} {
		before, between, after := 0, 0, 0
		for seed := range uint64(60) {
			w, h := astrayWorld(t, seed, lanes)
			key := keyOf(h.places[0])
			begins, ends := h.disk.NewGroup().(*group), h.disk.NewGroup()
			save := &raftpb.Save{
				ShardID: key.ShardID, ReplicaID: key.ReplicaID, MustSync: true,
				Installing: &raftpb.SnapshotMeta{ShardID: key.ShardID, ReplicaID: key.ReplicaID, Index: installed, Term: 1, Kind: raftpb.SnapshotMemory},
			}
			if err := begins.inner.Save(save); err != nil { // beside the checkers, which know of no such entries in this shard
				t.Fatal(err)
			}
			var u update
			updateOf(save, &u)
			for range installed {
				u.install.entries = append(u.install.entries, entry{term: 1})
			}
			h.disk.memory[key].apply(&u)
			begins.updates = append(begins.updates, u)
			ends.Remove(key)
			for _, g := range []logdb.Group{begins, ends} {
				h.disk.Commit([]logdb.Group{g}, func(error) { t.Error("a write ended") })
			}
			h.disk.crash()
			if w.violation != nil {
				t.Fatalf("%d lanes, seed %d: %v", lanes, seed, w.violation)
			}
			switch found := h.disk.memory[key]; {
			case found == nil:
				after++
			case found.installing == installed && found.last() == installed:
				between++
			case found.installing == 0 && found.last() == 2:
				before++
			default:
				t.Fatalf("%d lanes, seed %d: %+v", lanes, seed, found)
			}
			h.disk.closeFiles()
		}
		if before == 0 || between == 0 || after == 0 {
			t.Errorf("%d lanes: found before, between and after them: %d, %d, %d", lanes, before, between, after)
		}
	}
}

// Damage may take the newest writes, and with them a removal that was durable, and the beginning of the log that followed: what was removed is known
// by the writes that are remembered. Another log is not.
func TestWhatARemovalRemovedIsKnown(t *testing.T) {
	key := logdb.ReplicaKey{ShardID: 1, ReplicaID: 1}
	five := update{key: key, incarnation: 7, first: 1, entries: make([]entry, 5)}
	for i := range five.entries {
		five.entries[i].term = 3
	}
	durable := []*write{{updates: []update{five}}, {updates: []update{{key: key, remove: true}, {key: key, incarnation: 8}}}}
	d := &disk{disorder: disorder{older: map[logdb.ReplicaKey]*mirror{}, trail: durable}}
	removed := d.removals(key)
	for index, known := range map[uint64]bool{5: true, 6: false} {
		m := &mirror{incarnation: 7}
		if got := d.prefix(m, &raftpb.Stored{Compacted: index, CompactedTerm: 3}, removed...); got != known || known && m.last() != index {
			t.Errorf("a log that begins behind entry %d: known %v, last %d", index, got, m.last())
		}
	}
	if others := d.removals(logdb.ReplicaKey{ShardID: 2, ReplicaID: 1}); len(others) != 0 {
		t.Errorf("of another replica were removed: %d", len(others))
	}
}
