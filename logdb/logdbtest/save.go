package logdbtest

import (
	"errors"
	"reflect"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// A replica that is not there is told apart from one that is empty: the engine bootstraps the former only (R16).
func testNotFound(s *suite) {
	s.expectNotFound(key(1, 1))
	s.save(&raftpb.Save{ShardID: 1, ReplicaID: 1, Bootstrap: &raftpb.Bootstrap{Incarnation: 5}, MustSync: true})
	s.expectNotFound(key(1, 2))
	s.expectNotFound(key(2, 1))
	s.expectLog(key(1, 1), 0)
}

// Everything that a save holds comes back, also after a restart.
func testSaveAndLoad(s *suite) {
	batches := []raftpb.Batch{Batch(3, 1, 1, 2, 16), Batch(3, 1, 3, 1, 16), Batch(3, 4, 4, 5, 300)}
	save := saveBatches(key(3, 2), batches...)
	save.Bootstrap = &raftpb.Bootstrap{Incarnation: 11, Join: true, Initial: membership(0), Complete: true}
	save.State, save.StateChanged = raftpb.HardState{Term: 4, Vote: 2, Commit: 3}, true
	save.Configs = []raftpb.ConfigRecord{config(1), config(4)}
	s.save(save)
	want := raftpb.Stored{
		Bootstrap: *save.Bootstrap,
		State:     save.State,
		Last:      8,
		Terms:     []raftpb.TermStart{{Term: 1, First: 1}, {Term: 4, First: 4}},
		Configs:   save.Configs,
	}
	for range 2 {
		if got := s.load(key(3, 2)); !reflect.DeepEqual(got, want) {
			s.Errorf("load: %+v, want %+v", got, want)
		}
		s.expectLog(key(3, 2), 0, batches...)
		s.close()
		s.open()
	}
}

// The parts that a save leaves out stay as they are: a write of batches must not forget the vote.
func testSaveReplacesOnlyWhatItHolds(s *suite) {
	first := saveBatches(key(1, 1), Batch(1, 2, 1, 1, 16))
	first.Bootstrap = &raftpb.Bootstrap{Incarnation: 9}
	first.State, first.StateChanged = raftpb.HardState{Term: 2, Vote: 3}, true
	s.save(first)
	second := saveBatches(key(1, 1), Batch(1, 2, 2, 1, 16))
	second.State = raftpb.HardState{Term: 77} // StateChanged is not set
	s.save(second)
	s.save(&raftpb.Save{ShardID: 1, ReplicaID: 1, Bootstrap: &raftpb.Bootstrap{Incarnation: 10}, MustSync: true})
	stored := s.load(key(1, 1))
	if stored.State != first.State || stored.Bootstrap.Incarnation != 10 || stored.Last != 2 {
		s.Errorf("load: %+v", stored)
	}
	zero := &raftpb.Save{ShardID: 1, ReplicaID: 1, StateChanged: true, MustSync: true}
	s.save(zero)
	if stored = s.load(key(1, 1)); stored.State != (raftpb.HardState{}) {
		s.Errorf("a zero state did not replace %+v", stored.State)
	}
}

// Save copies: the caller recycles the save and what it refers to at once.
func testSaveCopies(s *suite) {
	want := Batch(1, 1, 1, 3, 50)
	given := raftpb.Batch(append([]byte(nil), want...))
	save := saveBatches(key(1, 1), given)
	initial := membership(2)
	save.Bootstrap = &raftpb.Bootstrap{Incarnation: 4, Initial: initial}
	save.Configs = []raftpb.ConfigRecord{config(2)}
	group := s.db.NewGroup()
	s.add(group, save)
	clear(given)
	clear(save.Batches)
	clear(save.Configs)
	clear(initial.Members)
	*save.Bootstrap = raftpb.Bootstrap{}
	done := make(chan error, 1)
	s.db.Commit([]logdb.Group{group}, func(err error) { done <- err })
	if err := <-done; err != nil {
		s.Fatal(err)
	}
	s.expectLog(key(1, 1), 0, want)
	stored := s.load(key(1, 1))
	if !reflect.DeepEqual(stored.Bootstrap.Initial, membership(2)) || !reflect.DeepEqual(stored.Configs, []raftpb.ConfigRecord{config(2)}) {
		s.Errorf("load: %+v", stored)
	}
}

// A save that contradicts itself is refused and leaves the group as it was: the other replicas of the group go on.
func testInvalidSaveChangesNothing(s *suite) {
	unstamped := raftpb.NewNoOp(1)
	tooShort := Batch(1, 1, 1, 2, 50)
	invalid := map[string]*raftpb.Save{
		"gap":                saveBatches(key(1, 1), Batch(1, 1, 1, 2, 16), Batch(1, 1, 4, 1, 16)),
		"overlap":            saveBatches(key(1, 1), Batch(1, 1, 1, 2, 16), Batch(1, 1, 2, 1, 16)),
		"falling term":       saveBatches(key(1, 1), Batch(1, 2, 1, 1, 16), Batch(1, 1, 2, 1, 16)),
		"other shard":        saveBatches(key(1, 1), Batch(2, 1, 1, 1, 16)),
		"unstamped":          saveBatches(key(1, 1), unstamped),
		"cut off":            saveBatches(key(1, 1), tooShort[:len(tooShort)-1]),
		"no header":          saveBatches(key(1, 1), tooShort[:20]),
		"not at truncation":  {ShardID: 1, ReplicaID: 1, TruncateFrom: 3, Batches: []raftpb.Batch{Batch(1, 1, 4, 1, 16)}},
		"invalid membership": {ShardID: 1, ReplicaID: 1, Configs: []raftpb.ConfigRecord{{Index: 1, Membership: raftpb.Membership{Members: []raftpb.Member{{}}}}}},
		"invalid bootstrap":  {ShardID: 1, ReplicaID: 1, Bootstrap: &raftpb.Bootstrap{Initial: raftpb.Membership{Members: []raftpb.Member{{}}}}},
	}
	group := s.db.NewGroup()
	good := Batch(1, 1, 1, 2, 16)
	s.add(group, saveBatches(key(1, 1), good))
	size := group.Bytes()
	for name, save := range invalid {
		save.StateChanged, save.State = true, raftpb.HardState{Term: 99}
		if err := group.Save(save); !errors.Is(err, logdb.ErrInvalidSave) {
			s.Errorf("%s: error %v, want ErrInvalidSave", name, err)
		}
		if group.Bytes() != size {
			s.Errorf("%s: the group grew from %d to %d bytes", name, size, group.Bytes())
		}
	}
	done := make(chan error, 1)
	s.db.Commit([]logdb.Group{group}, func(err error) { done <- err })
	if err := <-done; err != nil {
		s.Fatal(err)
	}
	s.expectLog(key(1, 1), 0, good)
	if state := s.load(key(1, 1)).State; state.Term != 0 {
		s.Errorf("state of a refused save: %+v", state)
	}
}

// What a group says of itself is what the writer schedules by (R13). A recycled group is as empty as a new one.
func testGroupReports(s *suite) {
	for range 3 {
		group := s.db.NewGroup()
		if !group.Empty() || group.MustSync() || group.Bytes() != 0 {
			s.Errorf("a new group: empty %v, must sync %v, %d bytes", group.Empty(), group.MustSync(), group.Bytes())
		}
		s.add(group, &raftpb.Save{ShardID: 1, ReplicaID: 1, StateChanged: true, State: raftpb.HardState{Commit: 1}})
		if group.Empty() || group.MustSync() {
			s.Errorf("after a mere change of the commit index: empty %v, must sync %v", group.Empty(), group.MustSync())
		}
		before := group.Bytes()
		batch := Batch(2, 1, 1, 10, 100)
		s.add(group, &raftpb.Save{ShardID: 2, ReplicaID: 1, TruncateFrom: 0, Batches: []raftpb.Batch{batch}, MustSync: true})
		if grown := group.Bytes() - before; !group.MustSync() || grown < len(batch) || grown > len(batch)+200 {
			s.Errorf("a batch of %d bytes: must sync %v, grown by %d", len(batch), group.MustSync(), grown)
		}
		group.Remove(key(2, 1))
		done := make(chan error, 1)
		s.db.Commit([]logdb.Group{group}, func(err error) { done <- err })
		if err := <-done; err != nil {
			s.Fatal(err)
		}
	}
}

// Groups apply in the order given, and what is in a group in the order in which it was added.
func testGroupsApplyInOrder(s *suite) {
	first, second := s.db.NewGroup(), s.db.NewGroup()
	a, b, c := Batch(1, 1, 1, 1, 16), Batch(1, 1, 2, 2, 16), Batch(1, 2, 2, 1, 16)
	s.add(first, saveBatches(key(1, 1), a), saveBatches(key(1, 1), b))
	first.Remove(key(2, 1))
	s.add(first, saveBatches(key(2, 1), Batch(2, 1, 1, 1, 16)))
	truncating := saveBatches(key(1, 1), c)
	truncating.TruncateFrom = 2
	s.add(second, truncating)
	second.Compact(key(1, 1), 1, 1)
	done := make(chan error, 1)
	s.db.Commit([]logdb.Group{first, second}, func(err error) { done <- err })
	if err := <-done; err != nil {
		s.Fatal(err)
	}
	s.expectLog(key(1, 1), 1, c)
	s.expectLog(key(2, 1), 0, Batch(2, 1, 1, 1, 16))
}
