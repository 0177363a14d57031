package engine

import (
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/raft"
)

// ReadCompletion is called exactly once with the answer to an accepted read, on an engine goroutine. It must be short.
type ReadCompletion func(value any, err error)

// readBatch holds reads of one shard that are confirmed by one quorum round: all that arrived while the step worker was
// busy elsewhere. Callers append under proposalQueue.mu while it is open; then it belongs to the step worker, and from
// the confirmation on to the apply worker. `ended` decides who answers it, as with pendingBatch.
type readBatch struct {
	id       uint64 // of the last time that the core was asked, 0 while it is to be asked again
	taken    raft.Instant
	queries  []asyncRead
	waiters  chan struct{} // closed when blocking callers may look up; nil if there are none
	index    uint64        // confirmed: may be served once this index is applied
	ended    atomic.Bool
	blockErr error // for blocking callers, written before the close
}

type asyncRead struct {
	query      any
	completion ReadCompletion
}

// answer calls the completion. One that panics costs its caller that call, and neither the replica nor its host.
func (q *asyncRead) answer(value any, err error) {
	defer func() { _ = recover() }()
	q.completion(value, err)
}

// end claims the batch for answering.
func (b *readBatch) end() bool { return b.ended.CompareAndSwap(false, true) }

// fail answers every read of the batch with err, unless somebody has answered it.
func (b *readBatch) fail(err error) {
	if !b.end() {
		return
	}
	for i := range b.queries {
		b.queries[i].answer(nil, err)
	}
	b.queries = nil // the batch itself may still be in a queue
	b.release(err)
}

func (b *readBatch) release(err error) {
	if b.waiters != nil {
		b.blockErr = err
		close(b.waiters)
	}
}

// serve looks up every asynchronous read and lets the blocking callers look up for themselves.
func (b *readBatch) serve(r *Replica) {
	if !b.end() {
		return
	}
	b.release(nil)
	for i := range b.queries {
		value, err := r.Lookup(b.queries[i].query)
		b.queries[i].answer(value, err)
	}
	b.queries = nil
}

// addRead queues a read; completion nil means that the caller blocks on the returned batch's waiters.
func (q *proposalQueue) addRead(maxReads int, query any, completion ReadCompletion) (batch *readBatch, signal bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return nil, false, q.closed
	}
	if len(q.reads) == 0 {
		q.reads = append(q.reads, &readBatch{})
	}
	batch = q.reads[len(q.reads)-1]
	if len(batch.queries) >= maxReads {
		return nil, false, ErrBusy
	}
	if completion != nil {
		batch.queries = append(batch.queries, asyncRead{query, completion})
	} else if batch.waiters == nil {
		batch.waiters = make(chan struct{})
	}
	signal = !q.signalled
	q.signalled = true
	return batch, signal, nil
}

// takeReads removes and returns the open reads, or nil.
func (q *proposalQueue) takeReads() *readBatch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.reads) == 0 {
		return nil
	}
	batch := q.reads[0]
	q.reads = q.reads[:0]
	return batch
}
