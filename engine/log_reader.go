package engine

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// logReads is the pool that reads old log for followers that are behind, and for state machines that are, so that no step worker ever waits for
// a disk. A core has at most one request under way per follower, so the order in which they are served does not matter.
//
// While what was read is on its way, what comes behind it is read already (log_ahead.go).
type logReads struct {
	engine  *Engine
	readers []*logReader

	reads, ahead atomic.Uint64 // of the log store; requests that were answered with what had been read ahead

	mu      sync.Mutex
	waiting []logReadRequest
	next    int // the reader that is woken next, if it is idle
	aheads  aheads
}

// logReader is one of the pool's workers: it does one read at a time.
type logReader struct {
	pool *logReads
	name string
	sig  signal
	// busy is set from when it is woken until it has looked for work and found none. Guarded by pool.mu.
	busy bool
}

// countedLog counts every read of the log store, whoever makes it.
type countedLog struct {
	logdb.LogDB
	reads atomic.Uint64
}

// Read implements logdb.LogDB.
func (l *countedLog) Read(key logdb.ReplicaKey, from, to uint64, maxBytes int, into []raftpb.Batch) ([]raftpb.Batch, error) {
	l.reads.Add(1)
	return l.LogDB.Read(key, from, to, maxBytes, into)
}

type logReadRequest struct {
	replica *Replica
	request raft.LogRead
}

func newLogReads(e *Engine, readers int) *logReads {
	p := &logReads{engine: e, aheads: newAheads()}
	for i := range readers {
		p.readers = append(p.readers, &logReader{pool: p, name: "log reader " + strconv.Itoa(i), sig: newSignal()})
	}
	return p
}

func (l *logReader) Name() string    { return l.name }
func (l *logReader) Ready() bool     { return l.sig.ready() }
func (l *logReader) signal() *signal { return &l.sig }

// submit takes over the reads that an iteration has asked for.
func (p *logReads) submit(w *StepWorker) {
	if len(w.out.LogReads) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, request := range w.out.LogReads {
		if r := w.replicas[request.ShardID]; r != nil && r.replicaID == request.ReplicaID {
			p.waiting = append(p.waiting, logReadRequest{r, request})
			p.wake()
		}
	}
}

// wake wakes one reader that is idle, so that as many are awake as there is work for, and none waits for one that is inside the store for
// long. If all are busy, whichever is done first looks for work again. p.mu is held.
func (p *logReads) wake() {
	for range p.readers {
		reader := p.readers[p.next]
		p.next = (p.next + 1) % len(p.readers)
		if !reader.busy {
			reader.busy = true
			reader.sig.set()
			return
		}
	}
}

// RunOnce serves one request, or reads ahead if none waits. It returns at once if there is more to do, and else when what was read ahead in
// vain is to be forgotten.
func (l *logReader) RunOnce(now raft.Instant) raft.Instant {
	l.sig.clear()
	p := l.pool
	p.mu.Lock()
	l.busy = true
	p.aheads.expire(now)
	if len(p.waiting) == 0 {
		plan := p.aheads.begin()
		if plan == nil {
			l.busy = false
			next := p.aheads.deadline()
			p.mu.Unlock()
			return next
		}
		p.mu.Unlock()
		p.readAhead(plan, now)
		return now
	}
	next := p.waiting[0]
	p.waiting[0] = logReadRequest{}
	p.waiting = p.waiting[1:]
	if len(p.waiting) == 0 {
		p.waiting = nil
	}
	found, batches := p.aheads.take(&next)
	p.mu.Unlock()
	switch found {
	case aheadComing:
		return now // whoever reads it answers
	case aheadThere:
		p.ahead.Add(1)
		p.answer(&next, batches, nil, now)
	default:
		batches, err := p.read(&next.request)
		p.answer(&next, batches, err, now)
	}
	return now
}

// answer gives a core what it asked for, and plans to read what comes next.
func (p *logReads) answer(r *logReadRequest, batches []raftpb.Batch, err error, now raft.Instant) {
	r.replica.worker.logRead(logReadResult{r.replica, r.request, batches, err})
	if err != nil || len(batches) == 0 {
		return
	}
	p.mu.Lock()
	p.aheads.plan(r, batches[len(batches)-1].Last()+1, now)
	p.mu.Unlock()
}

// readAhead reads what was planned. An error is nobody's yet: whoever asks gets it from a read of its own.
func (p *logReads) readAhead(plan *aheadRead, now raft.Instant) {
	batches, err := p.read(&plan.request)
	p.mu.Lock()
	waiter := p.aheads.done(plan, batches, err, now)
	p.mu.Unlock()
	switch {
	case waiter == nil:
	case err != nil || !plan.serves(&waiter.request, batches):
		batches, err := p.read(&waiter.request)
		p.answer(waiter, batches, err, now)
	default:
		p.ahead.Add(1)
		p.answer(waiter, batches, nil, now)
	}
}

// read asks the store; a panic in there is an error like any other.
func (p *logReads) read(request *raft.LogRead) (batches []raftpb.Batch, err error) {
	defer func() {
		if value := recover(); value != nil {
			batches, err = nil, p.engine.storePanicked(value)
		}
	}()
	p.reads.Add(1)
	key := logdb.ReplicaKey{ShardID: request.ShardID, ReplicaID: request.ReplicaID}
	return p.engine.options.LogDB.Read(key, request.From, request.To, request.MaxBytes, nil)
}
