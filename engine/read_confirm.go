package engine

import (
	"slices"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// confirmRead asks the core at which index a batch of waiting reads may be served, each time under a number of its own (R22).
func (w *StepWorker) confirmRead(r *Replica, batch *readBatch) {
	r.nextRead++
	batch.id = r.nextRead
	if reason := r.core.ReadIndex(w.now, batch.id); reason != raftpb.ReasonNone {
		w.refuseRead(r, batch.id, reason)
	}
}

// readAgain is how soon reads are asked for again that came too early, or whose round got no answer. They change nothing, so asking
// twice is harmless, and only their own deadline tells a caller that it takes too long.
const readAgain = raft.Instant(10 * time.Millisecond)

func (w *StepWorker) refuseRead(r *Replica, id uint64, reason raftpb.Reason) {
	i := slices.IndexFunc(r.waitingReads, func(b *readBatch) bool { return b.id == id })
	if i < 0 {
		return
	}
	batch := r.waitingReads[i]
	if reason == raftpb.ReasonNotReady {
		batch.id = 0
		if r.readsAgain == 0 {
			r.readsAgain = w.now + readAgain
		}
		return
	}
	batch.fail(w.errorOf(r, reason))
	r.waitingReads = slices.Delete(r.waitingReads, i, i+1)
}

// retryReads asks again for the reads that are due for it. They keep their place, which is in the order of their deadlines.
func (w *StepWorker) retryReads(r *Replica) {
	if r.readsAgain == 0 || w.now < r.readsAgain {
		return
	}
	r.readsAgain = 0
	for i := 0; i < len(r.waitingReads); {
		batch, before := r.waitingReads[i], len(r.waitingReads)
		if batch.id == 0 {
			w.confirmRead(r, batch)
		}
		i += 1 + len(r.waitingReads) - before
	}
}
