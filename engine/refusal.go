package engine

import (
	"fmt"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// errorOf says to a caller why a request was surely not done. Requests are refused most under load, so the sentinels are plain;
// the values that somebody may want to see are put in by whoever knows them.
func (w *StepWorker) errorOf(r *Replica, reason raftpb.Reason) error {
	switch reason {
	case raftpb.ReasonNotLeader:
		switch leader, _ := r.core.Leader(); {
		case leader != 0:
			return ErrNotLeader
		case r.removed != nil:
			return r.removed
		}
		return ErrNoLeader
	case raftpb.ReasonBusy, raftpb.ReasonNotReady:
		return ErrBusy
	case raftpb.ReasonFull:
		return ErrDiskFull
	case raftpb.ReasonTermMismatch:
		return ErrTermMismatch
	case raftpb.ReasonTransferring:
		return ErrTransferring
	case raftpb.ReasonNotMember:
		return ErrNotMember
	case raftpb.ReasonNotVoter:
		return ErrNotVoter
	case raftpb.ReasonStaleChange:
		return ErrStaleChange
	case raftpb.ReasonInvalidChange:
		return ErrInvalidChange
	case raftpb.ReasonPendingChange:
		return ErrPendingChange
	case raftpb.ReasonCanceled:
		return ErrChangeCanceled
	case raftpb.ReasonLost:
		return ErrDataLost
	case raftpb.ReasonTooLarge:
		return ErrTooLarge
	case raftpb.ReasonStopped:
		return ErrStopped
	case raftpb.ReasonFailed:
		return ErrStorageFailed
	}
	return fmt.Errorf("%w: %v", ErrNotLeader, reason)
}

// proposalError is errorOf for a batch of proposals.
func (w *StepWorker) proposalError(r *Replica, p *pendingBatch, reason raftpb.Reason) error {
	if reason != raftpb.ReasonTermMismatch {
		return w.errorOf(r, reason)
	}
	leader, term := r.core.Leader()
	return fmt.Errorf("%w: shard %d: proposed for term %d, known here is replica %d in term %d (0: none)", ErrTermMismatch, r.shardID,
		p.expectedTerm, leader, term)
}

// tooLarge refuses a command.
func (r *Replica) tooLarge(command []byte) error {
	return fmt.Errorf("%w: shard %d: the command has %d bytes, accepted are up to %d", ErrTooLarge, r.shardID, len(command),
		r.engine.limits.maxCommand)
}

// removedBy notes that a committed membership without this replica was shown to it: from then on it takes no part (R18).
func (r *Replica) removedBy(membership uint64) {
	r.removed = fmt.Errorf("%w: shard %d: replica %d is not in membership %d", ErrRemoved, r.shardID, r.replicaID, membership)
}

func (w *StepWorker) refusal(r *Replica, refusal *raft.Refusal) {
	switch refusal.Kind {
	case raft.RefusedProposal:
		w.refuseProposal(r, refusal)
	case raft.RefusedRead:
		w.refuseRead(r, refusal.ID, refusal.Reason)
	case raft.RefusedChange:
		w.refuseChange(r, refusal.ID, refusal.Reason, refusal.MaybeApplied)
	case raft.RefusedTransfer:
		w.refuseTransfer(r, refusal.ID, refusal.Reason, refusal.MaybeApplied)
	}
}

func (w *StepWorker) refuseProposal(r *Replica, refusal *raft.Refusal) {
	i := refusal.ID - r.pending.base
	if refusal.ID < r.pending.base || i >= uint64(len(r.pending.items)) || r.pending.items[i] == nil {
		return
	}
	p := r.pending.items[i]
	w.dropped(r, refusal.Reason)
	err := w.proposalError(r, p, refusal.Reason)
	if refusal.MaybeApplied {
		err = errLeaderChangedUnknown
	}
	p.fail(err)
}
