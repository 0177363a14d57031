package logdbtest

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// snapshotOf is a snapshot of a shard, whose membership is of index config.
func snapshotOf(shard, index, term, configIndex uint64) *raftpb.SnapshotMeta {
	return &raftpb.SnapshotMeta{
		ShardID: shard, ReplicaID: 2, Index: index, Term: term, Config: config(configIndex), Kind: raftpb.SnapshotMemory, StateVersion: 3,
	}
}

// A snapshot begins the log anew, whatever was stored, and is remembered until the state machine has recovered (R25).
func testInstalling(s *suite) {
	reopen := func() (logdb.LogDB, error) {
		s.close()
		s.open()
		return s.db, nil
	}
	if err := checkInstalling(s.db, reopen); err != nil {
		s.Error(err)
	}
}

// checkInstalling holds the clause against any store; reopen closes and opens it.
func checkInstalling(db logdb.LogDB, reopen func() (logdb.LogDB, error)) error {
	k, other := key(1, 1), key(1, 2)
	before := full(k, 2)
	before.Configs = []raftpb.ConfigRecord{config(1), config(3)}
	meta := snapshotOf(1, 50, 4, 40)
	begin := saveBatches(k, Batch(1, 4, 51, 2, 16), Batch(1, 5, 53, 1, 16))
	begin.StateChanged, begin.State = true, raftpb.HardState{Term: 5, Vote: 3}
	begin.Configs = []raftpb.ConfigRecord{config(53)}
	begin.Installing = meta
	if err := commitAll(db, before, full(other, 2), begin); err != nil {
		return err
	}
	want := raftpb.Stored{
		Bootstrap: *before.Bootstrap, State: begin.State, Compacted: 50, CompactedTerm: 4, Last: 53,
		Terms:   []raftpb.TermStart{{Term: 4, First: 51}, {Term: 5, First: 53}},
		Configs: []raftpb.ConfigRecord{config(40), config(53)}, Installing: meta,
	}
	check := func(when string) error {
		got, err := db.Load(k)
		if err != nil {
			return fmt.Errorf("%s: %w", when, err)
		}
		if !reflect.DeepEqual(got, want) {
			return fmt.Errorf("%s: stored %+v, want %+v", when, got, want)
		}
		if _, err := db.Read(k, 3, 3, 100, nil); !errors.Is(err, logdb.ErrCompacted) {
			return fmt.Errorf("%s: an entry of the log before is read: %w", when, err)
		}
		batches, err := db.Read(k, 51, 53, 1<<20, nil)
		if err != nil || len(batches) != 2 || string(batches[0]) != string(begin.Batches[0]) {
			return fmt.Errorf("%s: the log behind the snapshot: %d batches, %w", when, len(batches), err)
		}
		if neighbour, err := db.Load(other); err != nil || neighbour.Installing != nil || neighbour.Last != 3 {
			return fmt.Errorf("%s: the neighbour: %+v, %w", when, neighbour, err)
		}
		return nil
	}
	if err := check("after the snapshot"); err != nil {
		return err
	}
	var err error
	if db, err = reopen(); err != nil {
		return err
	}
	if err := check("after a restart"); err != nil {
		return err
	}
	// A change of the log leaves it remembered, the end of the installation does not.
	truncating := saveBatches(k, Batch(1, 6, 53, 1, 16))
	truncating.TruncateFrom = 53
	begin.Batches[1], want.Terms[1].Term, want.Configs = truncating.Batches[0], 6, want.Configs[:1]
	if err := commitAll(db, truncating); err != nil {
		return err
	}
	if err := check("after a truncation"); err != nil {
		return err
	}
	if err := commitAll(db, &raftpb.Save{ShardID: 1, ReplicaID: 1, Installed: true, MustSync: true}); err != nil {
		return err
	}
	want.Installing = nil
	if err := check("once it is installed"); err != nil {
		return err
	}
	if db, err = reopen(); err != nil {
		return err
	}
	return check("once it is installed, after a restart")
}

// commitAll commits each save by itself.
func commitAll(db logdb.LogDB, saves ...*raftpb.Save) error {
	for _, save := range saves {
		group := db.NewGroup()
		if err := group.Save(save); err != nil {
			return err
		}
		done := make(chan error, 1)
		db.Commit([]logdb.Group{group}, func(err error) { done <- err })
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

// A second snapshot takes the place of the first, one that is installed at once is not remembered at all, and a removal takes all of
// it. Saves that begin a log and contradict themselves are refused.
func testInstallingAgain(s *suite) {
	k := key(3, 1)
	for _, meta := range []*raftpb.SnapshotMeta{snapshotOf(3, 10, 1, 4), snapshotOf(3, 30, 2, 29)} {
		s.save(&raftpb.Save{ShardID: 3, ReplicaID: 1, Installing: meta, MustSync: true})
		for range 2 {
			s.expectLog(k, meta.Index)
			stored := s.load(k)
			if !reflect.DeepEqual(stored.Installing, meta) || !reflect.DeepEqual(stored.Configs, []raftpb.ConfigRecord{meta.Config}) {
				s.Errorf("stored %+v, want %+v being installed", stored, meta)
			}
			s.close()
			s.open()
		}
	}
	s.save(&raftpb.Save{ShardID: 3, ReplicaID: 1, Installing: snapshotOf(3, 60, 2, 1), Installed: true, MustSync: true})
	if stored := s.load(k); stored.Installing != nil || stored.Compacted != 60 || stored.CompactedTerm != 2 {
		s.Errorf("installed at once: %+v", stored)
	}
	s.save(saveBatches(k, Batch(3, 2, 61, 4, 16)))
	s.commit(func(group logdb.Group) { group.Compact(k, 62, 2) })
	s.expectLog(k, 62, Batch(3, 2, 61, 4, 16))
	s.save(&raftpb.Save{ShardID: 3, ReplicaID: 1, Installing: snapshotOf(3, 90, 2, 1), MustSync: true})
	s.commit(func(group logdb.Group) {
		group.Remove(k)
		s.add(group, saveBatches(k, Batch(3, 1, 1, 1, 16)))
	})
	for range 2 {
		if stored := s.load(k); stored.Installing != nil || stored.Compacted != 0 || stored.Configs != nil {
			s.Errorf("after the removal: %+v", stored)
		}
		s.close()
		s.open()
	}
	for name, change := range map[string]func(*raftpb.Save){
		"index":         func(save *raftpb.Save) { save.Installing.Index = 0 },
		"term":          func(save *raftpb.Save) { save.Installing.Term = 0 },
		"configuration": func(save *raftpb.Save) { save.Installing.Config.Index = 11 },
		"truncation":    func(save *raftpb.Save) { save.TruncateFrom = 11 },
		"batches":       func(save *raftpb.Save) { save.Batches = []raftpb.Batch{Batch(3, 1, 12, 1, 16)} },
		"batch's term":  func(save *raftpb.Save) { save.Batches = []raftpb.Batch{Batch(3, 1, 11, 1, 16)} },
		"membership":    func(save *raftpb.Save) { save.Installing.Config.Membership.Members[0].ReplicaID = 0 },
	} {
		save := &raftpb.Save{ShardID: 3, ReplicaID: 1, Installing: snapshotOf(3, 10, 2, 4), MustSync: true}
		change(save)
		if err := s.db.NewGroup().Save(save); !errors.Is(err, logdb.ErrInvalidSave) {
			s.Errorf("%s: error %v, want ErrInvalidSave", name, err)
		}
	}
}
