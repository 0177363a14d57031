package engine

import (
	"sync"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// logReader reads old log for followers that are behind, and for state machines that are, so that no step worker ever waits for
// a disk. Requests are served in order; a core has at most one under way per follower.
type logReader struct {
	engine *Engine
	sig    signal

	reads atomic.Uint64

	mu      sync.Mutex
	waiting []logReadRequest
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

func (l *logReader) Name() string    { return "log reader" }
func (l *logReader) Ready() bool     { return l.sig.ready() }
func (l *logReader) signal() *signal { return &l.sig }

// submit takes over the reads that an iteration has asked for.
func (l *logReader) submit(w *StepWorker) {
	if len(w.out.LogReads) == 0 {
		return
	}
	l.mu.Lock()
	for _, request := range w.out.LogReads {
		if r := w.replicas[request.ShardID]; r != nil && r.replicaID == request.ReplicaID {
			l.waiting = append(l.waiting, logReadRequest{r, request})
		}
	}
	l.mu.Unlock()
	l.sig.set()
}

// RunOnce serves one request and returns at once if more wait.
func (l *logReader) RunOnce(now raft.Instant) raft.Instant {
	l.sig.clear()
	l.mu.Lock()
	if len(l.waiting) == 0 {
		l.mu.Unlock()
		return raft.Never
	}
	next := l.waiting[0]
	l.waiting[0] = logReadRequest{}
	l.waiting = l.waiting[1:]
	if len(l.waiting) == 0 {
		l.waiting = nil
	}
	l.mu.Unlock()
	batches, err := l.read(&next.request)
	next.replica.worker.logRead(logReadResult{next.replica, next.request, batches, err})
	return now
}

// read asks the store; a panic in there is an error like any other.
func (l *logReader) read(request *raft.LogRead) (batches []raftpb.Batch, err error) {
	defer func() {
		if value := recover(); value != nil {
			batches, err = nil, l.engine.storePanicked(value)
		}
	}()
	l.reads.Add(1)
	key := logdb.ReplicaKey{ShardID: request.ShardID, ReplicaID: request.ReplicaID}
	return l.engine.options.LogDB.Read(key, request.From, request.To, request.MaxBytes, nil)
}
