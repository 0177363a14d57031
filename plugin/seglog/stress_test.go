package seglog

import (
	"errors"
	"sync"
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
	for name, options := range map[string]Options{"Inline": {}, "HandOff": {HandOff: true}} {
		t.Run(name, func(t *testing.T) {
			options.Dir, options.SegmentBytes, options.IdleDelay = t.TempDir(), MinSegmentBytes, time.Millisecond
			stress(t, options)
		})
	}
}

func stress(t *testing.T, options Options) {
	const shards, commits = 4, 250
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
	for i := range uint64(commits) {
		group := s.NewGroup()
		for shard := range uint64(shards) {
			key := logdb.ReplicaKey{ShardID: shard + 1, ReplicaID: 1}
			save := &raftpb.Save{ShardID: key.ShardID, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(key.ShardID, 1, i+1, 1, 700)}}
			if err := group.Save(save); err != nil {
				t.Fatal(err)
			}
			if shard < 3 && i%8 == 7 {
				group.Compact(key, i-3, 1)
			}
		}
		slots <- struct{}{}
		s.Commit([]logdb.Group{group}, func(err error) {
			if err != nil {
				t.Errorf("commit %d: %v", i, err)
			}
			<-slots
		})
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
