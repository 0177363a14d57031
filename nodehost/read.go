package nodehost

import (
	"context"
	"fmt"
	"time"
)

// Read answers a query from this host's state machine, linearizably: the answer reflects every command whose proposal was answered
// anywhere before Read was called. Any replica but a witness serves it, learners too: one quorum round of the leader confirms all reads of
// a shard that arrived meanwhile, and with ReplicaConfig.LeaseRead a leader that holds a lease answers without one. The
// state machine's Lookup runs on the caller's goroutine. What is lost on the way to the leader and back is asked for again
// until Config.RequestTimeout. A read changes nothing: MaybeApplied is never true of its errors.
// Errors: ErrNoLeader, ErrNotLeader, ErrBusy, ErrTimeout, ErrStopped, ErrRemoved, ErrDataLost, ErrQuarantined,
// ErrFenced, ErrWitness, the cause of ctx, those of Lookup.
func (s *Shard) Read(ctx context.Context, query any) (any, error) {
	cancelled := ctx.Done()
	if cancelled != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	ticket, err := s.replica.ReadTicket()
	if err != nil {
		return nil, err
	}
	if cancelled == nil {
		<-ticket.Done()
	} else {
		select {
		case <-ticket.Done():
		case <-cancelled:
			return nil, context.Cause(ctx) // a read changes nothing
		}
	}
	if err := ticket.Err(); err != nil {
		return nil, err
	}
	return s.replica.Lookup(query)
}

// ReadAsync is Read without waiting. Unless it returns an error, done is called exactly once, on an engine goroutine, where Lookup
// runs too; both must be short.
func (s *Shard) ReadAsync(query any, done func(any, error)) error {
	return s.replica.Read(query, done)
}

// StaleRead answers a query from this host's state machine as it is, without asking anybody, so with or without a leader. With maxAge above
// 0 it does so only if the state can be shown to hold everything that was acknowledged, anywhere, longer than maxAge before the
// call, and is refused with ErrTooStale otherwise; with 0 the answer may miss commands that were acknowledged long ago.
//
// What is known of the state's age comes with the leader's heartbeats: a bound below a few heartbeat intervals is seldom met, and a
// replica that has not heard from a leader for maxAge meets none. maxAge is measured by this host's clock alone, so offsets and
// drift between hosts do not matter. Lookup runs on the caller's goroutine; ctx is looked at before. Errors: ErrTooStale, ErrStopped,
// ErrQuarantined, ErrWitness, the cause of ctx, those of Lookup.
func (s *Shard) StaleRead(ctx context.Context, query any, maxAge time.Duration) (any, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if maxAge < 0 {
		return nil, fmt.Errorf("%w: shard %d: want at most %v, accepted is 0 (any age) and above", ErrTooStale, s.ID(), maxAge)
	}
	return s.replica.StaleRead(query, maxAge)
}
