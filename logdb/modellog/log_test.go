package modellog_test

import (
	"errors"
	"testing"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
	"github.com/flotilla-raft/flotilla/raftpb"
)

var key = logdb.ReplicaKey{ShardID: 1, ReplicaID: 2}

// write commits one entry and returns where the error given to done will be; it is nil before that.
func write(t *testing.T, log *modellog.Log, index uint64, mustSync bool) *[]error {
	t.Helper()
	return commit(t, log, &raftpb.Save{
		ShardID: 1, ReplicaID: 2, Batches: []raftpb.Batch{logdbtest.Batch(1, 1, index, 1, 10)}, MustSync: mustSync,
	})
}

func commit(t *testing.T, log *modellog.Log, save *raftpb.Save) *[]error {
	t.Helper()
	group := log.NewGroup()
	if err := group.Save(save); err != nil {
		t.Fatal(err)
	}
	results := new([]error)
	log.Commit([]logdb.Group{group}, func(err error) { *results = append(*results, err) })
	return results
}

func last(t *testing.T, log *modellog.Log) uint64 {
	t.Helper()
	stored, err := log.Load(key)
	if errors.Is(err, logdb.ErrNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return stored.Last
}

func TestNothingCompletesUntilTold(t *testing.T) {
	log := modellog.New(modellog.Options{})
	var results []*[]error
	for i := range uint64(3) {
		results = append(results, write(t, log, i+1, true))
	}
	for told := range 4 {
		for i, result := range results {
			if completed := len(*result) == 1; completed != (i < told) {
				t.Errorf("told %d: write %d completed: %v", told, i, completed)
			}
		}
		if log.Pending() != 3-told || last(t, log) != uint64(told) {
			t.Errorf("told %d: %d pending, the log ends at %d", told, log.Pending(), last(t, log))
		}
		log.Complete(1)
	}
	if counters := log.Counters(); counters.Commits != 3 || counters.Syncs != 3 {
		t.Errorf("counters %+v", counters)
	}
}

// TestCrash: a crash keeps what is durable and, of the rest, as many whole writes as it is told, oldest first.
func TestCrash(t *testing.T) {
	for kept, want := range map[int]uint64{0: 2, 1: 3, 2: 4, 3: 5, 4: 6} {
		log := modellog.New(modellog.Options{})
		write(t, log, 1, false) // completed, and durable together with the next
		write(t, log, 2, true)
		write(t, log, 3, false) // completed, and not durable
		write(t, log, 4, false)
		log.CompleteAll()
		pending := write(t, log, 5, true)
		write(t, log, 6, true)
		after := log.Crash(func(writes int) int {
			if writes != 4 {
				t.Errorf("%d writes are uncertain, want 4", writes)
			}
			return kept
		})
		if got := last(t, after); got != want {
			t.Errorf("kept %d: the log ends at %d, want %d", kept, got, want)
		}
		log.CompleteAll()
		late := write(t, log, 7, true)
		if len(*pending) != 0 || len(*late) != 0 {
			t.Error("a dead store completes writes")
		}
		if _, err := log.Load(key); !errors.Is(err, logdb.ErrClosed) {
			t.Errorf("load from a dead store: %v", err)
		}
		write(t, after, want+1, true)
		after.CompleteAll()
		if got := last(t, after.Crash(nil)); got != want+1 {
			t.Errorf("kept %d: after the second crash the log ends at %d, want %d", kept, got, want+1)
		}
	}
}

// TestFailLeavesOpenWhatIsOnTheDisk: a failed write may be there after all.
func TestFailLeavesOpenWhatIsOnTheDisk(t *testing.T) {
	for kept := range 3 {
		log := modellog.New(modellog.Options{})
		first := write(t, log, 1, true)
		second := write(t, log, 2, true)
		cause := errors.New("cause")
		log.Fail(cause)
		log.Fail(errors.New("a second one"))
		third := write(t, log, 1, true)
		for i, result := range []*[]error{first, second, third} {
			if len(*result) != 1 || !errors.Is((*result)[0], logdb.ErrFailed) || !errors.Is((*result)[0], cause) {
				t.Errorf("write %d: %v", i, *result)
			}
		}
		if got := last(t, log.Crash(func(int) int { return kept })); got != uint64(kept) {
			t.Errorf("kept %d: the log ends at %d", kept, got)
		}
	}
}

// TestAutomaticMayBeSwitched, to hold the disk of one host for a while.
func TestAutomaticMayBeSwitched(t *testing.T) {
	log := modellog.New(modellog.Options{Automatic: true})
	if result := write(t, log, 1, true); len(*result) != 1 {
		t.Error("not completed within Commit")
	}
	log.SetAutomatic(false)
	held := write(t, log, 2, true)
	if len(*held) != 0 {
		t.Error("completed while held")
	}
	log.SetAutomatic(true)
	if len(*held) != 1 {
		t.Error("not completed when the hold ended")
	}
}

// TestViolationsEndTheTest: what a store on a disk would find at the next start, if at all, is found at once here.
func TestViolationsEndTheTest(t *testing.T) {
	batch := func(first uint64) []raftpb.Batch { return []raftpb.Batch{logdbtest.Batch(1, 1, first, 3, 10)} }
	tests := map[string]func(log *modellog.Log, group logdb.Group) error{
		"gap": func(_ *modellog.Log, group logdb.Group) error {
			return group.Save(&raftpb.Save{ShardID: 1, ReplicaID: 2, Batches: batch(5)})
		},
		"overlap": func(_ *modellog.Log, group logdb.Group) error {
			return group.Save(&raftpb.Save{ShardID: 1, ReplicaID: 2, Batches: batch(3)})
		},
		"truncated inside a batch": func(_ *modellog.Log, group logdb.Group) error {
			return group.Save(&raftpb.Save{ShardID: 1, ReplicaID: 2, TruncateFrom: 2})
		},
		"truncated behind the end": func(_ *modellog.Log, group logdb.Group) error {
			return group.Save(&raftpb.Save{ShardID: 1, ReplicaID: 2, TruncateFrom: 4})
		},
		"compaction goes back": func(_ *modellog.Log, group logdb.Group) error {
			group.Compact(key, 2, 1)
			group.Compact(key, 1, 1)
			return nil
		},
	}
	for name, fill := range tests {
		log := modellog.New(modellog.Options{Automatic: true})
		commit(t, log, &raftpb.Save{ShardID: 1, ReplicaID: 2, Batches: batch(1)})
		group := log.NewGroup()
		if err := fill(log, group); err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if _, ok := recover().(invariant.Violation); !ok {
					t.Errorf("%s: no violation", name)
				}
			}()
			log.Commit([]logdb.Group{group}, func(error) {})
		}()
	}
}
