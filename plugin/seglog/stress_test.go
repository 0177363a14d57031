package seglog

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// TestStress runs committers, readers and the keeper beside each other on the real file system, with segments so small that they come and go all the
// time: for the race detector, and for readers whose segment is taken away under them.
func TestStress(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.Verify(t, before) })
	for name, run := range map[string]struct {
		handOff bool
		bytes   int
		commits uint64
	}{"Inline": {false, 700, 250}, "HandOff": {true, 700, 250}, "Large": {false, 30_000, 60}} {
		t.Run(name, func(t *testing.T) {
			options := Options{Dir: t.TempDir(), HandOff: run.handOff, SegmentBytes: MinSegmentBytes, IdleDelay: time.Millisecond}
			stress(t, options, run.bytes, run.commits)
		})
	}
}

func stress(t *testing.T, options Options, bytes int, commits uint64) {
	const shards = 4
	s, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for shard := range uint64(shards) {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					readOnce(t, s, logdb.ReplicaKey{ShardID: shard + 1, ReplicaID: 1})
				}
			}
		})
	}
	// One goroutine commits at a time, with a few Commits under way, as the log writer does.
	slots := make(chan struct{}, 3)
	var begun, completed atomic.Int64
	commit := func(group logdb.Group) {
		number := begun.Add(1)
		slots <- struct{}{}
		s.Commit([]logdb.Group{group}, func(err error) {
			if order := completed.Add(1); err != nil || order != number {
				t.Errorf("commit %d completes as %d: %v", number, order, err)
			}
			<-slots
		})
	}
	for i := range commits {
		group := s.NewGroup()
		for shard := range uint64(shards) {
			key := logdb.ReplicaKey{ShardID: shard + 1, ReplicaID: 1}
			save := &raftpb.Save{ShardID: key.ShardID, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(key.ShardID, 1, i+1, 1, bytes)}}
			if err := group.Save(save); err != nil {
				t.Fatal(err)
			}
			if shard < 3 && i%8 == 7 {
				group.Compact(key, i-3, 1)
			}
		}
		commit(group)
		if i%3 == 0 { // that nobody waits for
			group := s.NewGroup()
			if err := group.Save(&raftpb.Save{ShardID: 1, ReplicaID: 1, StateChanged: true, State: raftpb.HardState{Term: 1, Commit: i}}); err != nil {
				t.Fatal(err)
			}
			commit(group)
		}
	}
	close(stop)
	readers.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(options); err != nil {
		t.Fatal(err)
	}
	for shard := range uint64(shards) {
		stored, err := s.Load(logdb.ReplicaKey{ShardID: shard + 1, ReplicaID: 1})
		if err != nil || stored.Last != commits {
			t.Errorf("shard %d: %+v, %v", shard+1, stored, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func readOnce(t *testing.T, s *Store, key logdb.ReplicaKey) {
	stored, err := s.Load(key)
	if errors.Is(err, logdb.ErrNotFound) {
		return
	}
	if err != nil {
		t.Errorf("load: %v", err)
		return
	}
	batches, err := s.Read(key, stored.Compacted+1, stored.Last, 1<<20, nil)
	if err != nil && !errors.Is(err, logdb.ErrCompacted) && !errors.Is(err, logdb.ErrUnavailable) {
		t.Errorf("read: %v", err)
	}
	for i := 1; i < len(batches); i++ {
		if batches[i].First() != batches[i-1].Last()+1 {
			t.Errorf("batch %d follows %d", batches[i].First(), batches[i-1].Last())
		}
	}
}
