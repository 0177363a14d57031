package engine

import (
	"slices"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// deadlineOf returns when the replica wants to be touched although nothing reaches it.
func (w *StepWorker) deadlineOf(r *Replica) raft.Instant {
	options := &w.engine.options
	deadline := r.core.Deadline()
	if oldest := r.pending.oldest(); oldest != raft.Never {
		deadline = min(deadline, oldest+raft.Instant(options.RequestTimeout))
	}
	if r.waiting {
		if !r.overloaded {
			deadline = min(deadline, max(r.progressAt, r.lookedAt)+raft.Instant(options.MaxQueueDelay))
		}
		if r.queuedSince != 0 {
			deadline = min(deadline, r.queuedSince+raft.Instant(options.RequestTimeout))
		}
	}
	for _, reads := range [...][]*readBatch{r.waitingReads, r.readyReads, r.servedReads} {
		if len(reads) > 0 {
			deadline = min(deadline, reads[0].taken+raft.Instant(options.RequestTimeout))
		}
	}
	if r.readsAgain != 0 {
		deadline = min(deadline, r.readsAgain)
	}
	if r.lateReads != 0 {
		deadline = min(deadline, r.lateReads)
	}
	if len(r.transfers) > 0 {
		deadline = min(deadline, r.transfers[0].at+raft.Instant(options.RequestTimeout))
	}
	if len(r.changes) > 0 {
		deadline = min(deadline, r.changeDeadline())
	}
	if r.auditAt != 0 {
		deadline = min(deadline, r.auditAt)
	}
	if r.departure != nil {
		deadline = min(deadline, r.departure.deadline)
	}
	return deadline
}

// expire ends what has waited for longer than the request timeout, and looks whether the shard is overloaded.
func (w *StepWorker) expire(r *Replica) {
	timeout := raft.Instant(w.engine.options.RequestTimeout)
	for _, p := range r.pending.items {
		if p == nil {
			continue
		}
		if p.taken+timeout > w.now {
			break
		}
		p.fail(errTimeoutUnknown)
	}
	r.pending.trim()
	r.waitingReads = expireReads(r.waitingReads, w.now-timeout)
	r.readyReads = expireReads(r.readyReads, w.now-timeout)
	r.servedReads = expireReads(r.servedReads, w.now-timeout)
	if r.lateReads != 0 && r.lateReads <= w.now {
		r.lateReads = 0
		r.readyReads = r.expireLate(r.readyReads, w.now-timeout)
		r.servedReads = r.expireLate(r.servedReads, w.now-timeout)
	}
	for len(r.transfers) > 0 && r.transfers[0].at+timeout <= w.now {
		w.refuseTransfer(r, r.transfers[0].id, raftpb.ReasonNotReady, true) // the target may have been told to take over
	}
	w.auditWhenDue(r)
	w.retryReads(r)
	w.retryChanges(r)
	w.ageQueue(r)
	w.settleOverload(r)
}

// ageQueue ends what has waited in the queue for longer than the request timeout. Progress of the shard does not renew it: a
// batch may wait behind a forwarded one that was lost, while others' commits go by.
func (w *StepWorker) ageQueue(r *Replica) {
	r.queuedSince = 0
	if !r.waiting {
		return
	}
	r.lookedAt = w.now
	expired, oldest := r.queue.age(w.now, w.now-raft.Instant(w.engine.options.RequestTimeout))
	for _, p := range expired {
		p.fail(ErrTimeout)
	}
	r.queuedSince = oldest
}

// expireReads drops from the front what was answered and ends what was taken at or before limit.
func expireReads(reads []*readBatch, limit raft.Instant) []*readBatch {
	for len(reads) > 0 && (reads[0].ended.Load() || reads[0].taken <= limit) {
		reads[0].fail(ErrTimeout)
		reads[0] = nil
		reads = reads[1:]
	}
	return reads
}

// standsBehind notes a confirmed read that is to stand behind one that was asked later, for it was asked for again: the front of such a list is
// not the first to expire.
func (r *Replica) standsBehind(reads []*readBatch, batch *readBatch) {
	due := batch.taken + raft.Instant(r.engine.options.RequestTimeout)
	if n := len(reads); n > 0 && reads[n-1].taken > batch.taken && (r.lateReads == 0 || due < r.lateReads) {
		r.lateReads = due
	}
}

// expireLate looks at all, not at the front alone, and finds the next that is not in the order of deadlines.
func (r *Replica) expireLate(reads []*readBatch, limit raft.Instant) []*readBatch {
	newest, timeout := raft.Instant(0), raft.Instant(r.engine.options.RequestTimeout)
	return slices.DeleteFunc(reads, func(batch *readBatch) bool {
		switch {
		case batch.ended.Load() || batch.taken <= limit:
			batch.fail(ErrTimeout)
			return true
		case batch.taken < newest && (r.lateReads == 0 || batch.taken+timeout < r.lateReads):
			r.lateReads = batch.taken + timeout
		}
		newest = max(newest, batch.taken)
		return false
	})
}
