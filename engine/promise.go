package engine

import (
	"sync"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
)

// PromiseRecord says what a replica has promised and what is durable (R14).
type PromiseRecord struct {
	Key      logdb.ReplicaKey
	Promised raft.Promised
	// Forgotten removes what was recorded: the replica's data was removed.
	Forgotten bool
}

// PromiseStore keeps promises outside of the log store, so that a log store that comes back with less is noticed.
type PromiseStore interface {
	// Promised returns what is recorded of a replica, the zero value if nothing is.
	Promised(key logdb.ReplicaKey) raft.Promised
	// Record makes records durable. It is called by one goroutine at a time and may block on the disk.
	Record(records []PromiseRecord) error
}

// promiseBatch collects, in one step worker, the replicas whose promises have changed.
type promiseBatch struct {
	replicas []*Replica
	due      raft.Instant // when they are to be recorded, raft.Never if there are none
}

// notePromise puts a replica on the list of those to be recorded. That happens late, at most one interval, and always after the
// log's own sync, so the record is a lower bound and costs no acknowledgement anything.
func (w *StepWorker) notePromise(r *Replica) {
	r.promiseDirty = false
	if r.promiseListed {
		return
	}
	if promised, ok := r.core.Promise(); !ok || strongest(r.promised, promised) == r.promised {
		return
	}
	if len(w.promises.replicas) == 0 {
		w.promises.due = w.now + raft.Instant(w.engine.options.PromiseInterval)
	}
	r.promiseListed = true
	w.promises.replicas = append(w.promises.replicas, r)
}

func (w *StepWorker) flushPromises() {
	if len(w.promises.replicas) == 0 || w.promises.due > w.now {
		return
	}
	records := make([]PromiseRecord, 0, len(w.promises.replicas))
	for i, r := range w.promises.replicas {
		r.promiseListed = false
		w.promises.replicas[i] = nil
		if w.promise(r) {
			records = append(records, r.promiseRecord())
		}
	}
	w.promises.replicas = w.promises.replicas[:0]
	w.promises.due = raft.Never
	w.engine.promises.submit(records)
}

func (r *Replica) promiseRecord() PromiseRecord {
	return PromiseRecord{Key: logdb.ReplicaKey{ShardID: r.shardID, ReplicaID: r.replicaID}, Promised: r.promised}
}

// promise takes over what the replica's core promises now, if it may be recorded. A replica that stops is recorded
// by stop, for the last time: a record made later could bring back what RemoveReplicaData has forgotten.
func (w *StepWorker) promise(r *Replica) (ok bool) {
	if r.absent() {
		return false
	}
	defer w.guard(r)
	promised, ok := r.core.Promise()
	if ok {
		r.promised = strongest(r.promised, promised)
	}
	return ok
}

// strongest returns what holds of two promises, the later one last. Within a term what was acknowledged stays so, although a
// replica that was started again, or led and does not any more, says less at first.
func strongest(before, after raft.Promised) raft.Promised {
	if before.VoteTerm == after.VoteTerm && (before.Term > after.Term || before.Term == after.Term && before.Index > after.Index) {
		return before
	}
	return after
}

// promiseKeeper writes promise records on a worker of its own, because the write blocks.
type promiseKeeper struct {
	engine *Engine
	sig    signal
	store  PromiseStore

	mu      sync.Mutex
	waiting []PromiseRecord
	after   []func(error) // to be called when all that waits is recorded
	failure error         // set once (R9)
}

func (k *promiseKeeper) Name() string    { return "promise keeper" }
func (k *promiseKeeper) Ready() bool     { return k.sig.ready() }
func (k *promiseKeeper) signal() *signal { return &k.sig }

func (k *promiseKeeper) submit(records []PromiseRecord) {
	if len(records) == 0 {
		return
	}
	k.mu.Lock()
	k.waiting = append(k.waiting, records...)
	k.mu.Unlock()
	k.sig.set()
}

// forget removes what is recorded of a replica, and calls done when that is durable.
func (k *promiseKeeper) forget(key logdb.ReplicaKey, done func(error)) {
	k.mu.Lock()
	k.waiting = append(k.waiting, PromiseRecord{Key: key, Forgotten: true})
	k.after = append(k.after, done)
	k.mu.Unlock()
	k.sig.set()
}

// RunOnce records what waits. A failure is a failed write of the host like any other (R9).
func (k *promiseKeeper) RunOnce(raft.Instant) raft.Instant {
	k.sig.clear()
	k.mu.Lock()
	records, after, err := k.waiting, k.after, k.failure
	k.waiting, k.after = nil, nil
	k.mu.Unlock()
	if len(records) > 0 && err == nil {
		if err = k.store.Record(records); err != nil {
			k.mu.Lock()
			k.failure = err
			k.mu.Unlock()
			k.engine.storageFailed(err)
		}
	}
	for _, done := range after {
		done(err)
	}
	return raft.Never
}
