package engine

import (
	"context"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/raft"
)

// userJob is work that goes through a whole state, mostly in a user's code: it saves a snapshot, syncs, opens a state machine or lets it recover.
// It may take long, it may never return, and it cannot be interrupted, only asked by its context. So it gets a worker of
// a bounded pool, is watched (snapshot_watch.go), and nobody waits for it but who wants its outcome.
//
// A job goes through prepare, on the apply worker that has the replica and between two Updates, if it has that; then run, on a worker of
// the pool; then after, when its place in the pool is free again. One that is canceled before it has a place goes from cancel to after
// straight away, one that is prepared is told by its context.
type userJob struct {
	what               string   // what it does, for reports
	replica            *Replica // nil while it is started
	shardID, replicaID uint64

	ctx    context.Context
	cancel context.CancelCauseFunc

	// prepare, if not nil, is called once the job has a place. False ends it there.
	prepare func() bool
	run     func()
	// after is called once, whatever became of the job: context.Cause(ctx) says why if it never ran.
	after func()
	// abandon, if not nil, is called if the job goes on for MaxStopWait after it was canceled: whoever waits for it is to be answered.
	abandon func()

	// heldUp, if not nil, says that the job waits for another host: that it does not move is not its state machine's fault.
	heldUp func() bool
	// moved grows with every byte that the job reads or writes: one that stands still is reported.
	moved atomic.Uint64

	// Owned by the watch.
	seen       uint64
	seenAt     raft.Instant
	canceledAt raft.Instant
	reported   bool
	abandoned  bool
}

func newUserJob(what string, shardID, replicaID uint64) *userJob {
	j := &userJob{what: what, shardID: shardID, replicaID: replicaID}
	j.ctx, j.cancel = context.WithCancelCause(context.Background())
	return j
}

// jobPool gives jobs places, first come first served. A stuck job keeps its place, and no other one's.
type jobPool struct {
	engine *Engine
	places int

	mu      sync.Mutex
	waiting []*userJob
	running []*userJob // those that have a place
	ready   []*userJob // of those, the ones that are prepared and have no worker yet
	idle    []*jobWorker
	workers []*jobWorker
}

// jobWorker runs one job at a time to its end. It is a worker of which RunOnce blocks as long as a user's code does. The simulator runs
// each in a coroutine of its own: no lock is held while a user's code runs, and Options.Yield is called at each read and write of a
// snapshot, so that other steps fall in between.
type jobWorker struct {
	pool *jobPool
	name string
	sig  signal
}

// CallsUser says whether a worker's RunOnce may stay inside a user's state machine for long: who drives workers by hand may want to run
// it beside the others.
func CallsUser(worker Worker) bool {
	_, ok := worker.(*jobWorker)
	return ok
}

func newJobPool(e *Engine, name string, places int) *jobPool {
	p := &jobPool{engine: e, places: places}
	for i := range places {
		p.workers = append(p.workers, &jobWorker{pool: p, name: name + " " + strconv.Itoa(i), sig: newSignal()})
	}
	p.idle = append(p.idle, p.workers...)
	return p
}

func (w *jobWorker) Name() string    { return w.name }
func (w *jobWorker) Ready() bool     { return w.sig.ready() }
func (w *jobWorker) signal() *signal { return &w.sig }

// submit queues a job. Safe for concurrent use.
func (p *jobPool) submit(job *userJob) {
	p.mu.Lock()
	p.waiting = append(p.waiting, job)
	granted := p.grant()
	p.mu.Unlock()
	p.begin(granted)
}

// grant gives free places to those that wait, under the lock, and returns them.
func (p *jobPool) grant() (granted []*userJob) {
	for len(p.waiting) > 0 && len(p.running) < p.places {
		job := p.waiting[0]
		p.waiting[0] = nil
		p.waiting = p.waiting[1:]
		p.running = append(p.running, job)
		granted = append(granted, job)
	}
	if len(p.waiting) == 0 {
		p.waiting = nil
	}
	return granted
}

// begin lets jobs that have got a place be prepared.
func (p *jobPool) begin(granted []*userJob) {
	for _, job := range granted {
		if job.prepare == nil {
			p.prepared(job)
			continue
		}
		p.engine.submitOne(job.replica, job.replica.applyQueue.pushBetween(func() {
			if job.prepare() {
				p.prepared(job)
			} else {
				p.end(job)
			}
		}))
	}
	if len(granted) > 0 {
		p.engine.watch.sig.set()
	}
}

// prepared hands a job to a worker. There are as many as places, so one is free, or about to look.
func (p *jobPool) prepared(job *userJob) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = append(p.ready, job)
	if n := len(p.idle); n > 0 {
		p.idle[n-1].sig.set()
		p.idle = p.idle[:n-1]
	}
}

// end gives a job's place to the next one.
func (p *jobPool) end(job *userJob) {
	p.mu.Lock()
	for i, other := range p.running {
		if other == job {
			p.running = append(p.running[:i:i], p.running[i+1:]...)
			break
		}
	}
	granted := p.grant()
	p.mu.Unlock()
	p.begin(granted)
	job.after()
}

// cancel ends a job that waits for a place, and asks one that has it to end.
func (p *jobPool) cancel(job *userJob, cause error) {
	job.cancel(cause)
	p.mu.Lock()
	waits := false
	for i, other := range p.waiting {
		if waits = other == job; waits {
			p.waiting = append(p.waiting[:i:i], p.waiting[i+1:]...)
			break
		}
	}
	p.mu.Unlock()
	if waits {
		job.after()
	}
}

// cancelAll cancels every job.
func (p *jobPool) cancelAll(cause error) {
	p.mu.Lock()
	waiting := p.waiting
	p.waiting = nil
	running := append([]*userJob(nil), p.running...)
	p.mu.Unlock()
	for _, job := range waiting {
		job.cancel(cause)
		job.after()
	}
	for _, job := range running {
		job.cancel(cause)
	}
	p.engine.watch.sig.set()
}

// under returns the jobs that have a place.
func (p *jobPool) under(into []*userJob) []*userJob {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(into, p.running...)
}

// RunOnce runs one job to its end.
func (w *jobWorker) RunOnce(now raft.Instant) raft.Instant {
	w.sig.clear()
	p := w.pool
	p.mu.Lock()
	if len(p.ready) == 0 {
		w.rest()
		p.mu.Unlock()
		return raft.Never
	}
	job := p.ready[0]
	p.ready = append(p.ready[:0:0], p.ready[1:]...)
	p.mu.Unlock()
	p.run(job)
	p.end(job)
	return now // it is not on the idle list, so it has to look again
}

// run keeps a panic of ours inside the job: what it was to bring about has not happened. Those of a user's code go no further than rsm.
func (p *jobPool) run(job *userJob) {
	defer func() {
		if value := recover(); value != nil {
			p.engine.options.Logger.Error("assertion failed", "in", job.what, "shard", job.shardID, "replica", job.replicaID,
				"value", value, "stack", string(debug.Stack()))
		}
	}()
	job.run()
}

// rest puts a worker on the idle list, under the lock, unless it is there.
func (w *jobWorker) rest() {
	for _, other := range w.pool.idle {
		if other == w {
			return
		}
	}
	w.pool.idle = append(w.pool.idle, w)
}
