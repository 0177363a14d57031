package logdbtest

import (
	"math"
	"slices"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// full is a save with something in every part.
func full(key logdb.ReplicaKey, term uint64) *raftpb.Save {
	save := saveBatches(key, Batch(key.ShardID, term, 1, 2, 16), Batch(key.ShardID, term, 3, 1, 16))
	save.Bootstrap = &raftpb.Bootstrap{Incarnation: 1 + key.ReplicaID}
	save.StateChanged, save.State = true, raftpb.HardState{Term: term, Vote: 1}
	save.Configs = []raftpb.ConfigRecord{config(1)}
	return save
}

// Remove leaves nothing of a replica, and everything of the others.
func testRemove(s *suite) {
	s.commit(func(group logdb.Group) {
		group.Remove(key(7, 7))
		if !group.MustSync() {
			s.Error("a removal does not wait for durability")
		}
	})
	keys := []logdb.ReplicaKey{key(1, 1), key(1, 2), key(2, 1)}
	for _, k := range keys {
		s.save(full(k, 1))
	}
	s.commit(func(group logdb.Group) {
		group.Compact(key(1, 2), 2, 1)
		group.Remove(key(1, 2))
		group.Remove(key(9, 9)) // never there
	})
	s.close()
	s.open()
	s.expectNotFound(key(1, 2))
	for _, k := range []logdb.ReplicaKey{keys[0], keys[2]} {
		s.expectLog(k, 0, full(k, 1).Batches...)
		if stored := s.load(k); stored.State.Term != 1 || len(stored.Configs) != 1 || stored.Bootstrap.Incarnation == 0 {
			s.Errorf("load %v: %+v", k, stored)
		}
	}
}

// A replica that is added again, even in the write in which it was removed, has nothing of its former self (R15).
func testRemoveAndAddAgain(s *suite) {
	s.save(full(key(1, 1), 5))
	s.commit(func(group logdb.Group) {
		group.Remove(key(1, 1))
		s.add(group, saveBatches(key(1, 1), Batch(1, 1, 1, 1, 16)))
	})
	s.expectLog(key(1, 1), 0, Batch(1, 1, 1, 1, 16))
	if stored := s.load(key(1, 1)); stored.State.Term != 0 || stored.Bootstrap.Incarnation != 0 || stored.Configs != nil {
		s.Errorf("load: %+v", stored)
	}
}

// List finds every replica with stored state, whatever part of it is stored, in ascending order.
func testList(s *suite) {
	s.expectList()
	s.save(saveBatches(key(7, 1), Batch(7, 1, 1, 1, 16)))
	s.save(&raftpb.Save{ShardID: 300, ReplicaID: 1, Bootstrap: &raftpb.Bootstrap{}, MustSync: true})
	s.save(&raftpb.Save{ShardID: 2, ReplicaID: 256, StateChanged: true})
	s.save(full(key(2, 3), 1), full(key(math.MaxUint64, math.MaxUint64), 1))
	s.commit(func(group logdb.Group) { group.Compact(key(5, 5), 10, 1) })
	want := []logdb.ReplicaKey{key(2, 3), key(2, 256), key(5, 5), key(7, 1), key(300, 1), key(math.MaxUint64, math.MaxUint64)}
	s.expectList(want...)
	s.commit(func(group logdb.Group) { group.Remove(key(5, 5)) })
	s.close()
	s.open()
	s.expectList(slices.Delete(want, 2, 3)...)
}

func (s *suite) expectList(want ...logdb.ReplicaKey) {
	s.Helper()
	got, err := s.db.List()
	if err != nil || !slices.Equal(got, want) {
		s.Errorf("list: %v, error %v, want %v", got, err, want)
	}
}

// Replicas whose numbers are next to each other, at the ends of the range and at bytes' borders, do not touch.
func testNeighboursAreApart(s *suite) {
	const top = math.MaxUint64
	keys := []logdb.ReplicaKey{
		key(1, 254), key(1, 255), key(1, 256), key(1, top), key(2, 0), key(2, 1), key(255, 1), key(256, 1),
		key(top, top-1), key(top, top),
	}
	for _, k := range keys {
		s.save(full(k, 1))
	}
	for i, removed := range keys {
		s.commit(func(group logdb.Group) {
			s.add(group, &raftpb.Save{ShardID: removed.ShardID, ReplicaID: removed.ReplicaID, TruncateFrom: 1, MustSync: true})
		})
		s.expectLog(removed, 0)
		s.commit(func(group logdb.Group) { group.Remove(removed) })
		s.expectNotFound(removed)
		for _, k := range keys[i+1:] {
			s.expectLog(k, 0, full(k, 1).Batches...)
		}
	}
	s.expectList()
}

// Everything is there after an orderly restart, also what was completed without a sync.
func testRestart(s *suite) {
	for i := uint64(1); i <= 5; i++ {
		s.save(saveBatches(key(i, 1), Batch(i, 1, 1, int(i), 16)))
		s.save(&raftpb.Save{ShardID: i, ReplicaID: 1, StateChanged: true, State: raftpb.HardState{Term: 1, Commit: i}})
		s.close()
		s.open()
		for j := uint64(1); j <= i; j++ {
			s.expectLog(key(j, 1), 0, Batch(j, 1, 1, int(j), 16))
			if state := s.load(key(j, 1)).State; state.Commit != j {
				s.Errorf("state of shard %d after restart %d: %+v", j, i, state)
			}
		}
	}
}
