package modellog

import (
	"errors"
	"fmt"
	"sync"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Options are the options of a Log. The zero value is a store that completes nothing until it is told to.
type Options struct {
	// Automatic completes every write within Commit.
	Automatic bool
}

// commit is one call of Commit.
type commit struct {
	operations []operation
	mustSync   bool
	done       func(error)
}

// Log implements logdb.LogDB. It is safe for concurrent use as the contract demands; for a deterministic run, all calls come
// from one goroutine.
type Log struct {
	mu        sync.Mutex
	automatic bool
	visible   table
	durable   table
	// unsynced are completed writes that are in visible and not in durable: nothing since has had MustSync.
	unsynced []*commit
	// pending are writes that were not completed, oldest first.
	pending []*commit
	// doubtful are writes that failed: a crash may keep them or not.
	doubtful   []*commit
	completing bool // a Complete is calling done; others leave their work to it
	allowed    int  // pending writes that the running Complete still has to complete
	failed     error
	closed     bool
	crashed    bool
	counters   Counters
}

// Counters says what a Log has done.
type Counters struct {
	Commits uint64 // calls of Commit
	Syncs   uint64 // completed writes that had MustSync
}

// New returns an empty store.
func New(options Options) *Log {
	return &Log{automatic: options.Automatic, visible: table{}, durable: table{}}
}

// Name returns "model".
func (l *Log) Name() string { return "model" }

// NewGroup returns an empty group.
func (l *Log) NewGroup() logdb.Group { return &Group{} }

// Commit queues the groups as one write. See logdb.LogDB. In a store that crashed nothing happens and done is never called.
func (l *Log) Commit(groups []logdb.Group, done func(error)) {
	c := &commit{done: done}
	for _, group := range groups {
		g := group.(*Group)
		c.operations = append(c.operations, g.operations...)
		c.mustSync = c.mustSync || g.mustSync
		*g = Group{}
	}
	l.mu.Lock()
	if l.crashed {
		l.mu.Unlock()
		return
	}
	l.counters.Commits++
	switch {
	case l.closed:
		l.mu.Unlock()
		done(fmt.Errorf("%w: commit", logdb.ErrClosed))
		return
	case l.failed != nil:
		err := fmt.Errorf("%w: %w", logdb.ErrFailed, l.failed)
		l.mu.Unlock()
		done(err)
		return
	}
	l.pending = append(l.pending, c)
	automatic := l.automatic
	l.mu.Unlock()
	if automatic {
		l.Complete(1)
	}
}

// SetAutomatic turns automatic completion on, which completes what is pending, or off.
func (l *Log) SetAutomatic(automatic bool) {
	l.mu.Lock()
	l.automatic = automatic
	l.mu.Unlock()
	if automatic {
		l.CompleteAll()
	}
}

// Pending returns the number of writes that wait for completion.
func (l *Log) Pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending)
}

// Counters returns the counters as they stand now.
func (l *Log) Counters() Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counters
}

// CompleteAll completes everything that is pending now.
func (l *Log) CompleteAll() { l.Complete(l.Pending()) }

// Complete completes the oldest n pending writes, or fewer if there are not as many: each becomes visible,
// and durable if it must, and then its done is called. A call from within done only notes what it was asked for; the outer
// one goes on with it, which keeps the order and the stack flat.
func (l *Log) Complete(n int) {
	l.mu.Lock()
	l.allowed += n
	if l.completing {
		l.mu.Unlock()
		return
	}
	l.completing = true
	for l.allowed > 0 && len(l.pending) > 0 {
		c := l.pending[0]
		l.pending = l.pending[1:]
		l.allowed--
		l.finish(c)
		l.mu.Unlock()
		c.done(nil)
		l.mu.Lock()
	}
	l.allowed = 0
	l.completing = false
	l.mu.Unlock()
}

// finish makes a write visible, and durable with all before it if it must be.
func (l *Log) finish(c *commit) {
	for i := range c.operations {
		l.visible.apply(&c.operations[i])
	}
	l.unsynced = append(l.unsynced, c)
	if c.mustSync {
		l.counters.Syncs++
		l.durable.applyAll(l.unsynced)
		l.unsynced = nil
	}
}

func (t table) applyAll(commits []*commit) {
	for _, c := range commits {
		for i := range c.operations {
			t.apply(&c.operations[i])
		}
	}
}

// Fail makes the store fail with err, as a failed sync would: what is pending ends with it, every later Commit
// with logdb.ErrFailed. A crash afterwards may keep some of what was pending. A nil err stands for an unnamed one.
func (l *Log) Fail(err error) {
	if err == nil {
		err = errors.New("modellog: failed on request")
	}
	l.mu.Lock()
	if l.failed != nil || l.closed || l.crashed {
		l.mu.Unlock()
		return
	}
	l.failed = err
	failing := l.pending
	l.pending = nil
	l.doubtful = failing
	l.mu.Unlock()
	for _, c := range failing {
		c.done(fmt.Errorf("%w: %w", logdb.ErrFailed, err))
	}
}

// Crash cuts the power and returns the store as it is found afterwards. The old one is dead: it completes nothing and
// every read ends with logdb.ErrClosed. keep is told how many writes are not known to be durable, completed ones without
// MustSync first, and says how many of them, oldest first, are there all the same; a nil keep stands for none.
func (l *Log) Crash(keep func(writes int) int) *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	after := l.leaves(keep)
	l.crashed = true
	l.pending, l.unsynced, l.doubtful = nil, nil, nil
	return after
}

// CrashClone returns the store as Crash would, and goes on: the power may be cut at any moment of one run.
func (l *Log) CrashClone(keep func(writes int) int) *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leaves(keep)
}

func (l *Log) leaves(keep func(writes int) int) *Log {
	uncertain := append(append(append([]*commit(nil), l.unsynced...), l.doubtful...), l.pending...)
	kept := 0
	if keep != nil {
		kept = keep(len(uncertain))
		if kept < 0 || kept > len(uncertain) {
			invariant.Fail("modellog: crash keeps %d of %d writes", kept, len(uncertain))
		}
	}
	after := l.durable.clone()
	after.applyAll(uncertain[:kept])
	return &Log{automatic: l.automatic, visible: after, durable: after.clone()}
}

// Load returns what is stored for a replica.
func (l *Log) Load(key logdb.ReplicaKey) (raftpb.Stored, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.find(key)
	if err != nil {
		return raftpb.Stored{}, err
	}
	return r.load(key)
}

// Read returns stored batches.
func (l *Log) Read(
	key logdb.ReplicaKey, from, to uint64, maxBytes int, into []raftpb.Batch,
) ([]raftpb.Batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.find(key)
	if err != nil {
		return into, err
	}
	return r.read(key, from, to, maxBytes, into)
}

func (l *Log) find(key logdb.ReplicaKey) (*replica, error) {
	if l.closed || l.crashed {
		return nil, fmt.Errorf("%w: %v", logdb.ErrClosed, key)
	}
	r := l.visible[key]
	if r == nil {
		return nil, fmt.Errorf("%w: %v", logdb.ErrNotFound, key)
	}
	return r, nil
}

// List returns the keys of all replicas, ascending.
func (l *Log) List() ([]logdb.ReplicaKey, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.crashed {
		return nil, fmt.Errorf("%w: list", logdb.ErrClosed)
	}
	return l.visible.keys(), nil
}

// Close completes what is pending and closes the store. Its contents are gone, unless Reopen is called.
func (l *Log) Close() error {
	l.CompleteAll()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("%w: closed twice", logdb.ErrClosed)
	}
	l.closed = true
	return nil
}

// Reopen returns the store that is found after Close, which makes everything durable.
func (l *Log) Reopen() *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	invariant.Check(l.closed, "modellog: reopened a store that is not closed")
	return &Log{automatic: l.automatic, visible: l.visible.clone(), durable: l.visible.clone()}
}

var _ logdb.LogDB = (*Log)(nil)
