package engine

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// applyItem is one thing to do for a state machine, in the order of the log: apply a batch (and complete who waits for it),
// serve confirmed reads, or run an act that nobody else may be in the state machine for, as the last one of a replica that is stopped.
type applyItem struct {
	batch   raftpb.Batch
	pending *pendingBatch
	reads   *readBatch
	last    func()
}

// applyQueue holds what one replica's state machine has to do. The step worker appends, one apply worker at a time removes:
// `scheduled` is true from the append that found it false until a worker finds nothing that it may do, and only a scheduled replica
// is in the pool's list, once. That is what keeps a shard in at most one apply worker. apply_hold.go says what holds the queue up.
type applyQueue struct {
	mu        sync.Mutex
	items     []applyItem
	reads     int      // among items
	between   []func() // to be run between two Updates, before the next item
	paused    bool     // the state must not change: batches wait
	views     int      // somebody is in the state machine beside the apply worker: acts wait
	scheduled bool
}

// maxConfirmedReads bounds the batches of reads of one shard that are confirmed and wait for its state machine, in front of its
// queue and in it. Each was a round of the leader's; while a state machine does not return reads go on being confirmed, and those that timed
// out leave the queue only when it does.
const maxConfirmedReads = 1024

// push appends items and reports whether the replica has to be handed to the pool.
func (q *applyQueue) push(items ...applyItem) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = append(q.items, items...)
	return q.schedule()
}

// pushReads appends a batch of reads as push does, unless there are too many.
func (q *applyQueue) pushReads(batch *readBatch) (schedule, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.reads >= maxConfirmedReads {
		return false, false
	}
	q.reads++
	q.items = append(q.items, applyItem{reads: batch})
	return q.schedule(), true
}

// pop moves items into work, up to maxBytes of batches but at least one item, if one may be done; more says whether there is more to do.
// An act is the last of a turn: it may hold up what follows.
func (q *applyQueue) pop(work []applyItem, maxBytes int) (taken []applyItem, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	bytes, n := 0, 0
	for n < len(q.items) && q.mayDo(&q.items[n]) && (n == 0 || bytes+len(q.items[n].batch) <= maxBytes) {
		bytes += len(q.items[n].batch)
		if q.items[n].reads != nil {
			q.reads--
		}
		n++
		if q.items[n-1].last != nil {
			break
		}
	}
	work = append(work, q.items[:n]...)
	clear(q.items[:n])
	if n == len(q.items) {
		q.items = q.items[:0]
		if cap(q.items) > 256 {
			q.items = nil
		}
	} else {
		q.items = q.items[n:]
	}
	return work, q.runnable()
}

// rest ends the replica's turn: true means that more arrived meanwhile and it stays scheduled.
func (q *applyQueue) rest() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.scheduled = q.runnable()
	return q.scheduled
}

// applyPool shares the apply workers among all shards. Replicas with work queue up; each gets a bounded turn and then goes to
// the back of the list. Workers with nothing to do are on the idle list: submit signals exactly as many of them as there are new
// replicas, and a worker looks at the list again before it goes idle, so nothing waits while a worker is free.
//
// A state machine that holds its worker up cannot be interrupted. When replicas wait and every worker has been inside one turn
// for longer than growAfter, the pool gets another worker, up to a limit, so that a slow machine slows its own shard only. A worker
// above the first number that has had nothing to do for shrinkAfter ends.
type applyPool struct {
	engine *Engine
	grow   func(Worker) // starts a worker's goroutine; nil when the engine is driven by hand

	mu      sync.Mutex
	list    []*Replica
	idle    []*applyWorker
	workers []*applyWorker
	made    int // names given out
	backlog atomic.Int32
}

const (
	growAfter     = 20 * time.Millisecond
	shrinkAfter   = 10 * time.Second
	maxApplyBytes = 1 << 20
)

type applyWorker struct {
	pool  *applyPool
	name  string
	sig   signal
	since atomic.Int64 // when the turn under way began, 0 for none
	idle  raft.Instant // since when it has had nothing to do, 0 while it has; owned by RunOnce

	work    []applyItem
	batches rsm.Turn
}

func newApplyPool(e *Engine, workers int) *applyPool {
	pool := &applyPool{engine: e}
	for range workers {
		pool.add()
	}
	pool.idle = append(pool.idle, pool.workers...)
	return pool
}

func (p *applyPool) add() *applyWorker {
	worker := &applyWorker{pool: p, sig: newSignal(), name: "apply " + strconv.Itoa(p.made)}
	p.made++
	p.workers = append(p.workers, worker)
	return worker
}

// submit hands replicas over that were just scheduled.
func (p *applyPool) submit(replicas []*Replica) {
	p.mu.Lock()
	p.list = append(p.list, replicas...)
	p.backlog.Store(int32(len(p.list)))
	for range replicas {
		n := len(p.idle)
		if n == 0 {
			break
		}
		p.idle[n-1].sig.set()
		p.idle = p.idle[:n-1]
	}
	p.mu.Unlock()
}

// take removes the next replica, or makes the worker idle.
func (p *applyPool) take(worker *applyWorker) (replica *Replica, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) == 0 {
		p.idle = append(p.idle, worker)
		return nil, false
	}
	replica = p.list[0]
	p.list[0] = nil
	p.list = p.list[1:]
	if len(p.list) == 0 {
		p.list = nil
	}
	p.backlog.Store(int32(len(p.list)))
	return replica, len(p.list) > 0
}

// again puts a replica that has more to do at the back of the list; the calling worker takes from it next.
func (p *applyPool) again(r *Replica) {
	p.mu.Lock()
	p.list = append(p.list, r)
	p.backlog.Store(int32(len(p.list)))
	p.mu.Unlock()
}

// watch adds a worker if all are held up while replicas wait, and returns when to look again, raft.Never if that is not needed:
// nothing else may happen on the host meanwhile.
func (p *applyPool) watch(now raft.Instant) (again raft.Instant) {
	if p.grow == nil || p.backlog.Load() == 0 {
		return raft.Never
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) == 0 || len(p.idle) > 0 || len(p.workers) >= p.engine.options.MaxApplyWorkers {
		return raft.Never
	}
	again = now + raft.Instant(growAfter)
	for _, worker := range p.workers {
		since := worker.since.Load()
		if since == 0 || now-raft.Instant(since) < raft.Instant(growAfter) {
			return again
		}
	}
	worker := p.add()
	worker.sig.set()
	p.grow(worker)
	if len(p.workers) >= p.engine.options.MaxApplyWorkers {
		return raft.Never
	}
	return again
}

func (w *applyWorker) Name() string    { return w.name }
func (w *applyWorker) Ready() bool     { return w.sig.ready() }
func (w *applyWorker) signal() *signal { return &w.sig }

// RunOnce gives one replica a turn.
func (w *applyWorker) RunOnce(now raft.Instant) raft.Instant {
	if w.idle != 0 && !w.sig.ready() {
		return w.rest(now)
	}
	w.sig.clear()
	w.idle = 0
	r, _ := w.pool.take(w)
	if r == nil {
		w.idle = now
		return w.rest(now)
	}
	w.since.Store(int64(now))
	w.turn(r)
	w.since.Store(0)
	// The worker is not on the idle list, so it has to look again; take puts it there once nothing waits.
	return now
}

// rest is for a worker on the idle list: it waits for a signal, and if it is one more than there are at first it ends after a while.
// submit takes a worker off the list before it signals it, so one that is still on it has no work coming.
func (w *applyWorker) rest(now raft.Instant) raft.Instant {
	p := w.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	place := slices.Index(p.idle, w)
	switch {
	case place < 0 || len(p.workers) <= p.engine.options.ApplyWorkers:
		return raft.Never
	case now < w.idle+raft.Instant(shrinkAfter):
		return w.idle + raft.Instant(shrinkAfter)
	}
	p.idle = slices.Delete(p.idle, place, place+1)
	p.workers = slices.DeleteFunc(p.workers, func(other *applyWorker) bool { return other == w })
	w.sig.ended.Store(true)
	return raft.Never
}

func (w *applyWorker) turn(r *Replica) {
	// A violated invariant fences the replica. Its state machine is not touched again but to be closed: what is queued behind is
	// answered as failed, and the last act of a stop still comes.
	defer func() {
		if value := recover(); value != nil {
			stack := debug.Stack()
			_ = r.machine.Quarantine(fmt.Errorf("%w: %v", ErrFenced, value)) // the failure goes to the fence below
			for i := range w.work {
				w.abandon(&w.work[i])
			}
			clear(w.work)
			r.worker.control(func(worker *StepWorker) { worker.fence(r, value, stack) })
			if r.applyQueue.rest() {
				w.pool.again(r)
			}
		}
	}()
	r.applyQueue.runBetween()
	var more bool
	w.work, more = r.applyQueue.pop(w.work[:0], maxApplyBytes)
	for i := 0; i < len(w.work); {
		switch item := &w.work[i]; {
		case item.batch != nil:
			n := i + 1
			for n < len(w.work) && w.work[n].batch != nil && !endsTurn(w.work[n-1].batch.Kind()) {
				n++
			}
			w.apply(r, w.work[i:n])
			i = n
		case item.reads != nil:
			w.read(r, item.reads)
			i++
		default:
			item.last()
			i++
		}
	}
	clear(w.work)
	if r.applyWanted.Load() && r.applyWanted.Swap(false) {
		r.worker.requests(r)
	}
	if more || r.applyQueue.rest() {
		w.pool.again(r)
	}
}

// endsTurn reports whether nothing may be added to a turn of rsm's behind a batch of a kind.
func endsTurn(kind raftpb.Kind) bool {
	return kind == raftpb.KindMembership || kind == raftpb.KindAudit
}

// apply runs consecutive batches through the state machine in one Update and completes their waiters.
func (w *applyWorker) apply(r *Replica, items []applyItem) {
	w.batches.Reset()
	var err error
	if failure := r.machine.Failure(); failure != nil {
		err = failure
	}
	for i := 0; i < len(items) && err == nil; i++ {
		if err = r.machine.Add(&w.batches, items[i].batch); err != nil {
			err = r.machine.Quarantine(err)
		}
	}
	if err == nil {
		err = r.machine.Apply(&w.batches)
	}
	if err != nil {
		w.fail(r, items)
	} else {
		w.complete(items)
		w.noteApplied(r, items)
		if last := items[len(items)-1].batch; last.Kind() == raftpb.KindAudit {
			w.audited(r, last)
		}
	}
	w.batches.Reset()
}

// noteApplied asks for a snapshot if one is due, and lets the watch ask for one that will be.
func (w *applyWorker) noteApplied(r *Replica, items []applyItem) {
	bytes := uint64(0)
	for i := range items {
		bytes += uint64(len(items[i].batch))
	}
	entries := items[len(items)-1].batch.Last() - items[0].batch.First() + 1
	if r.snapshots.meter.note(entries, bytes) {
		r.snapshotDue()
	}
	r.noteSync(raft.Instant(w.since.Load()))
}

// abandon answers whoever waits for an item that will not be done.
func (w *applyWorker) abandon(item *applyItem) {
	switch {
	case item.pending != nil:
		item.pending.fail(errFencedUnknown)
	case item.reads != nil:
		item.reads.fail(ErrFenced)
	case item.last != nil:
		item.last()
	}
}

func (w *applyWorker) complete(items []applyItem) {
	entries, errs := w.batches.Entries(), w.batches.Errs()
	for i := range items {
		item := &items[i]
		if item.batch.Kind() != raftpb.KindCommands {
			if item.pending != nil {
				item.pending.complete(0, make([]rsm.Entry, 1), nil)
			}
			continue
		}
		count := item.batch.Count()
		if item.pending != nil {
			item.pending.complete(item.batch.Origin().Piece, entries[:count], errs[:min(int(count), len(errs))])
		}
		entries = entries[count:]
		if errs != nil {
			errs = errs[count:]
		}
	}
}

// fail answers the waiters of batches that a failed state machine did not, or did not surely, apply.
func (w *applyWorker) fail(r *Replica, items []applyItem) {
	for i := range items {
		if items[i].pending != nil {
			items[i].pending.fail(errQuarantinedUnknown)
		}
	}
	failure := r.machine.Failure()
	r.worker.control(func(worker *StepWorker) { worker.quarantine(r, failure) })
}

func (w *applyWorker) read(r *Replica, reads *readBatch) {
	if failure := r.machine.Failure(); failure != nil {
		reads.fail(failure)
		return
	}
	reads.serve(r)
}
