package seglog

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// aheadRun is a store whose first Commit is written, and whose owner does not come back from being told so until held is closed.
type aheadRun struct {
	s       *Store
	last    uint64 // index of the log
	held    chan struct{}
	mu      sync.Mutex
	order   []int
	running sync.WaitGroup
}

// newAheadRun begins with a batch of so many bytes, which its committer does not write itself. Others it might.
func newAheadRun(t *testing.T, fs vfs.FS, bytes int, onFailure func(error)) *aheadRun {
	t.Helper()
	s, err := Open(Options{FS: fs, Dir: "log", HandOff: bytes <= inlineBytes, SegmentBytes: MinSegmentBytes, IdleDelay: time.Hour, OnFailure: onFailure})
	if err != nil {
		t.Fatal(err)
	}
	r := &aheadRun{s: s, held: make(chan struct{})}
	told := make(chan struct{})
	r.commit(t, 1, bytes, func() {
		close(told)
		<-r.held
	})
	<-told
	return r
}

// commit commits a batch of so many bytes, or, if that is 0, only a hard state that nobody waits for.
func (r *aheadRun) commit(t *testing.T, number, bytes int, done func()) {
	t.Helper()
	save := &raftpb.Save{ShardID: 1, ReplicaID: 1, StateChanged: true, State: raftpb.HardState{Term: 1, Commit: uint64(number)}}
	if bytes > 0 {
		r.last++
		save.MustSync, save.Batches = true, []raftpb.Batch{logdbtest.Batch(1, 1, r.last, 1, bytes)}
	}
	group := r.s.NewGroup()
	if err := group.Save(save); err != nil {
		t.Error(err)
	}
	r.running.Add(1)
	r.s.Commit([]logdb.Group{group}, func(error) {
		done()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.order = append(r.order, number)
		r.running.Done()
	})
}

func nothing() {}

// waitForWrite waits until all batches are written and synced.
func (r *aheadRun) waitForWrite() {
	written := func() bool {
		r.s.index.mu.RLock()
		defer r.s.index.mu.RUnlock()
		replica := r.s.index.replicas[logdb.ReplicaKey{ShardID: 1, ReplicaID: 1}]
		return replica != nil && replica.lastIndex() == r.last
	}
	for !written() {
		runtime.Gosched()
	}
}

// end lets the first owner go, and checks in which order all are told.
func (r *aheadRun) end(t *testing.T, want ...int) {
	t.Helper()
	r.mu.Lock()
	if len(r.order) != 0 {
		t.Errorf("completed before the first: %v", r.order)
	}
	r.mu.Unlock()
	close(r.held)
	r.running.Wait()
	if !slices.Equal(r.order, want) {
		t.Errorf("completed in the order %v, want %v", r.order, want)
	}
	if err := r.s.Close(); err != nil {
		t.Fatal(err)
	}
}

// The next groups are written and synced while the owner of the one before is still being told, and yet all are completed in order, also what need
// not be written.
func TestTheWriterGoesAheadOfCompletions(t *testing.T) {
	defer leaktest.Verify(t)
	for _, first := range []int{100, 2 * inlineBytes} {
		r := newAheadRun(t, vfs.NewMem(), first, nil)
		r.commit(t, 2, 100, nothing)
		r.waitForWrite()
		r.commit(t, 3, 30_000, nothing)
		r.waitForWrite()
		r.commit(t, 4, 0, nothing)
		r.end(t, 1, 2, 3, 4)
	}
}

// What need not be written and comes during a write waits for the completions before it. The writer does not: it goes on with what has to be written.
func TestTheWriterDoesNotWaitWithWhatRests(t *testing.T) {
	defer leaktest.Verify(t)
	var during atomic.Pointer[func()]
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, segmentSuffix) {
			if call := during.Swap(nil); call != nil {
				(*call)()
			}
		}
		return nil
	}))
	r := newAheadRun(t, fs, 100, nil)
	came := make(chan struct{})
	rests := func() {
		r.commit(t, 3, 0, nothing)
		close(came)
	}
	during.Store(&rests)
	r.commit(t, 2, 100, nothing)
	<-came
	r.waitForWrite()
	r.commit(t, 4, 100, nothing)
	r.waitForWrite()
	r.end(t, 1, 2, 3, 4)
}

// A failure is told when what was written before it is completed: then nothing completes without an error any more. It may be the writer's, or
// the keeper's, which looks after the next segment once the first Commit has taken the better part of one.
func TestAFailureIsToldBehindCompletions(t *testing.T) {
	for name, fails := range map[string]struct {
		kind   errorfs.OpKind
		suffix string
	}{"Sync": {errorfs.OpFileSyncData, segmentSuffix}, "Fill": {errorfs.OpFileWriteAt, tempSuffix}} {
		t.Run(name, func(t *testing.T) { failBehindCompletions(t, fails.kind, fails.suffix) })
	}
}

func failBehindCompletions(t *testing.T, kind errorfs.OpKind, suffix string) {
	defer leaktest.Verify(t)
	var broken, completed, early atomic.Bool
	failed, told := make(chan struct{}), make(chan struct{})
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == kind && strings.HasSuffix(op.Path, suffix) && broken.CompareAndSwap(true, false) {
			close(failed)
			return syscall.EIO
		}
		return nil
	}))
	broken.Store(suffix == tempSuffix)
	r := newAheadRun(t, fs, 40_000, func(err error) {
		early.Store(!completed.Load() || !errors.Is(err, logdb.ErrFailed))
		close(told)
	})
	if suffix == segmentSuffix {
		broken.Store(true)
		r.commit(t, 2, 100, nothing)
	}
	<-failed
	for range 1000 {
		runtime.Gosched() // a failure that did not wait would be told now
	}
	completed.Store(true)
	close(r.held)
	<-told
	r.running.Wait()
	if early.Load() {
		t.Error("told before what was written was completed")
	}
	r.commit(t, 3, 0, nothing)
	r.running.Wait()
	if err := r.s.Close(); err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(r.order) {
		t.Errorf("completed in the order %v", r.order)
	}
}
