package nodehost

import (
	"context"
	"fmt"

	"github.com/flotilla-raft/flotilla/rsm"
)

// Propose replicates a command and returns once this host's state machine has applied it, with its result. The command is
// copied. ctx needs no deadline: Config.RequestTimeout ends what takes longer. When ctx ends first, the error wraps its cause
// and MaybeApplied is true of it, for the command is on its way.
func (s *Shard) Propose(ctx context.Context, command []byte) (rsm.Result, error) {
	return s.propose(ctx, command, 0)
}

// ProposeAtTerm is Propose for a command that may enter the log in one term only: a leader in any other refuses it with
// ErrTermMismatch, and so does a follower that knows a later term. One that has not come to the term yet says that it knows no leader of it,
// ErrNotLeader, which is as surely not applied and may be tried again. A term of 0 is refused with ErrTermMismatch too.
func (s *Shard) ProposeAtTerm(ctx context.Context, term uint64, command []byte) (rsm.Result, error) {
	if term == 0 {
		return rsm.Result{}, fmt.Errorf("%w: shard %d: proposed for term 0, accepted is 1 and above", ErrTermMismatch, s.ID())
	}
	return s.propose(ctx, command, term)
}

func (s *Shard) propose(ctx context.Context, command []byte, term uint64) (rsm.Result, error) {
	cancelled := ctx.Done()
	if cancelled != nil && ctx.Err() != nil {
		return rsm.Result{}, context.Cause(ctx)
	}
	ticket, err := s.replica.ProposeTicket(command, term)
	if err != nil {
		return rsm.Result{}, err
	}
	if cancelled == nil {
		<-ticket.Done() // a plain receive costs half of what select does
		return ticket.Outcome()
	}
	select {
	case <-ticket.Done():
		return ticket.Outcome()
	case <-cancelled:
		return rsm.Result{}, abandon(ctx)
	}
}

// ProposeAsync queues a command and returns at once. Unless it returns an error, after which the command was surely not applied, done is
// called exactly once, on an engine goroutine, for applied commands in the order of the log. done must be short and must not block;
// it may propose again.
func (s *Shard) ProposeAsync(command []byte, done func(rsm.Result, error)) error {
	return s.replica.Propose(command, 0, done)
}
