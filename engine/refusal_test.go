package engine

import (
	"errors"
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Every reason that a request can be refused with has an error of its own for callers, which says that the request surely had no effect.
func TestEveryReasonHasItsError(t *testing.T) {
	errorOf := map[raftpb.Reason]error{
		raftpb.ReasonBusy: ErrBusy, raftpb.ReasonNotReady: ErrBusy, raftpb.ReasonFull: ErrDiskFull,
		raftpb.ReasonTermMismatch: ErrTermMismatch, raftpb.ReasonTransferring: ErrTransferring,
		raftpb.ReasonNotMember: ErrNotMember, raftpb.ReasonNotVoter: ErrNotVoter, raftpb.ReasonTooLarge: ErrTooLarge,
		raftpb.ReasonStopped: ErrStopped, raftpb.ReasonFailed: ErrStorageFailed, raftpb.ReasonPendingChange: ErrPendingChange,
		raftpb.ReasonStaleChange: ErrStaleChange, raftpb.ReasonCanceled: ErrChangeCanceled, raftpb.ReasonInvalidChange: ErrInvalidChange, raftpb.ReasonLost: ErrDataLost,
	}
	// These answer messages between replicas and end no request by themselves.
	inner := map[raftpb.Reason]bool{
		raftpb.ReasonDenied: true, raftpb.ReasonConflict: true, raftpb.ReasonDamaged: true, raftpb.ReasonNotEmpty: true,
		raftpb.ReasonBehind: true, raftpb.ReasonCompacted: true, raftpb.ReasonNotLeader: true, // the last one depends on the leader that is known
	}
	for reason := raftpb.ReasonNone + 1; reason < raftpb.ReasonCount; reason++ {
		want, outer := errorOf[reason]
		if outer == inner[reason] {
			t.Errorf("reason %v: is it one that ends a request?", reason)
			continue
		}
		if !outer {
			continue
		}
		got := (*StepWorker)(nil).errorOf(nil, reason)
		if !errors.Is(got, want) || MaybeApplied(got) {
			t.Errorf("reason %v: %v, want %v", reason, got, want)
		}
	}
}
