package engine

import (
	"fmt"
	"slices"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// transfer is a caller who waits for leadership to be handed over.
type transfer struct {
	id, target uint64
	done       func(error)
	at         raft.Instant
}

// Transfer asks for leadership to be handed to target, 0 for the best voter, and calls done once: with nil when the target has
// committed an entry in its term, or else with an ErrTransferFailed that matches the reason, too: ErrNotMember, ErrNotVoter,
// ErrTargetBehind, ErrTargetFailed, ErrNotLeader, ErrNoLeader, ErrTransferring, ErrBusy (the leader does not know this learner yet). If MaybeApplied is true of it, the target may yet
// come to lead. Safe for concurrent use.
func (r *Replica) Transfer(target uint64, done func(error)) {
	done = guarded(done)
	r.worker.control(func(w *StepWorker) { w.transfer(r, target, done) })
}

func (w *StepWorker) transfer(r *Replica, target uint64, done func(error)) {
	if r.absent() {
		done(r.endedErr())
		return
	}
	defer w.guard(r)
	w.enter(r)
	w.transferID++
	id := w.transferID
	r.transfers = append(r.transfers, transfer{id, target, done, w.now})
	if reason := r.core.TransferLeader(w.now, id, target); reason != raftpb.ReasonNone {
		w.refuseTransfer(r, id, reason, false)
	}
}

func (w *StepWorker) endTransfer(r *Replica, id uint64, err error) {
	for i, t := range r.transfers {
		if t.id == id {
			r.transfers = append(r.transfers[:i], r.transfers[i+1:]...)
			if r.departure != nil {
				w.touch(r)
			}
			t.done(err)
			return
		}
	}
}

// refuseTransfer says to a caller why leadership was not handed over.
func (w *StepWorker) refuseTransfer(r *Replica, id uint64, reason raftpb.Reason, maybe bool) {
	i := slices.IndexFunc(r.transfers, func(t transfer) bool { return t.id == id })
	if i < 0 {
		return
	}
	var cause error
	switch {
	case reason == raftpb.ReasonBehind:
		cause = ErrTargetBehind
	case reason == raftpb.ReasonFailed:
		cause = ErrTargetFailed
	case reason == raftpb.ReasonNotReady && maybe:
		cause = ErrTimeout
	default:
		cause = w.errorOf(r, reason)
	}
	if maybe {
		cause = &unknown{cause}
	}
	target := "the best voter"
	if r.transfers[i].target != 0 {
		target = fmt.Sprintf("replica %d", r.transfers[i].target)
	}
	w.endTransfer(r, id, fmt.Errorf("%w: shard %d to %s: %w", ErrTransferFailed, r.shardID, target, cause))
}
