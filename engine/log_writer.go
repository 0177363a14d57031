package engine

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
)

// savedEvent tells a step worker that a replica's write is durable.
type savedEvent struct {
	replica *Replica
	number  uint64
}

// writeItem is what one step worker wants written after one iteration, or what somebody else wants written, with a
// callback.
type writeItem struct {
	group  logdb.Group
	worker *StepWorker
	saved  []savedEvent
	done   func(error)
}

// commitsInFlight is how many group commits may be under way: while the disk syncs one, the next is handed to the store, so
// the disk never waits for the writer. More would only make the groups smaller.
const commitsInFlight = 2

// logWriter joins the groups of all step workers into one durable write at a time, the next one being collected while the
// disk is busy.
//
// RunOnce takes everything that waits, so whatever is queued is written by the next commit: votes never wait behind
// other groups' bodies, because there is no line to wait in. The byte budget is kept where updates are accepted: see
// StepWorker.observeStorage. The store calls back in the order of the commits, from its own goroutine or from
// within Commit; the callback only appends to inboxes and signals.
type logWriter struct {
	engine *Engine
	sig    signal
	store  logdb.LogDB

	mu      sync.Mutex
	waiting []writeItem
	free    []*commit
	flying  []*commit // under way, oldest first

	bytes   atomic.Int64 // accepted and not yet durable
	oldest  atomic.Int64 // when the oldest commit under way began, 0 for none
	commits atomic.Uint64
}

// commit is one group commit under way; it is recycled, callback included.
type commit struct {
	writer  *logWriter
	items   []writeItem
	groups  []logdb.Group
	bytes   int64
	started raft.Instant
	done    func(error)
	ended   atomic.Bool // completed was called
}

func newLogWriter(e *Engine) *logWriter {
	w := &logWriter{engine: e, sig: newSignal(), store: e.options.LogDB}
	for range commitsInFlight {
		c := &commit{writer: w}
		c.done = c.completed
		w.free = append(w.free, c)
	}
	return w
}

func (w *logWriter) Name() string    { return "log writer" }
func (w *logWriter) Ready() bool     { return w.sig.ready() }
func (w *logWriter) signal() *signal { return &w.sig }

// submit hands a group over. Safe for concurrent use.
func (w *logWriter) submit(item writeItem) {
	w.bytes.Add(int64(item.group.Bytes()))
	w.mu.Lock()
	w.waiting = append(w.waiting, item)
	w.mu.Unlock()
	w.sig.set()
}

// RunOnce starts the next commit if one may start.
func (w *logWriter) RunOnce(now raft.Instant) raft.Instant {
	w.sig.clear()
	c := w.begin(now)
	if c != nil {
		w.commits.Add(1)
		w.commit(c)
	}
	return raft.Never
}

// commit hands c to the store. A store that panics has failed, and nothing may be believed of it any more (R9).
func (w *logWriter) commit(c *commit) {
	defer func() {
		if value := recover(); value != nil {
			c.completed(w.engine.storePanicked(value))
		}
	}()
	w.store.Commit(c.groups, c.done)
}

func (e *Engine) storePanicked(value any) error {
	e.options.Logger.Error("log store panicked", "value", value, "stack", string(debug.Stack()))
	return fmt.Errorf("log store panicked: %v", value)
}

// begin moves everything that waits into a free commit. Without a free one nothing happens: the completion that
// frees one signals the writer again.
func (w *logWriter) begin(now raft.Instant) *commit {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 || len(w.free) == 0 {
		return nil
	}
	c := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	c.items, w.waiting = w.waiting, c.items[:0]
	c.groups = c.groups[:0]
	c.bytes, c.started = 0, now
	c.ended.Store(false)
	for i := range c.items {
		c.groups = append(c.groups, c.items[i].group)
		c.bytes += int64(c.items[i].group.Bytes())
	}
	w.flying = append(w.flying, c)
	w.oldest.Store(int64(w.flying[0].started))
	return c
}

// completed runs when the commit is durable, or has failed. It distributes the saved events, one append and one signal per
// step worker.
func (c *commit) completed(err error) {
	w := c.writer
	if c.ended.Swap(true) {
		return
	}
	if err != nil {
		w.engine.storageFailed(err)
	}
	for i := range c.items {
		item := &c.items[i]
		if item.worker != nil {
			item.worker.written(item.saved, err)
		}
		if item.done != nil {
			item.done(err)
		}
		*item = writeItem{}
	}
	clear(c.groups)
	w.bytes.Add(-c.bytes)
	w.mu.Lock()
	w.flying = append(w.flying[:0], w.flying[1:]...)
	if len(w.flying) > 0 {
		w.oldest.Store(int64(w.flying[0].started))
	} else {
		w.oldest.Store(0)
	}
	w.free = append(w.free, c)
	again := len(w.waiting) > 0
	w.mu.Unlock()
	if again {
		w.sig.set()
	}
}
