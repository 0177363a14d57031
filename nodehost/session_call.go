package nodehost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
)

// Call is one call of a Session. It may be proposed any number of times until it has ended, and is applied at most once. It ends with
// an answer, which every later Propose returns again, or with an error that no further attempt can change: ErrTooLarge, the
// end of the session, Abandon. It is safe for concurrent use.
type Call struct {
	session *Session
	command []byte

	// Guarded by session.mu.
	series    uint64 // 0 until it is proposed for the first time
	place     *place // nil before, and once it has ended
	ended     bool
	uncertain bool // an attempt has ended without saying whether it was applied
	result    rsm.Result
	err       error
}

// Propose proposes the call and returns its result once this host's state machine has applied it. Whatever passes (an election, a full queue, a
// lost leader, a timeout) is tried again until ctx ends. Unless the call has ended it may be proposed again after an error, and is to be,
// here or after Session.Via elsewhere, or abandoned. MaybeApplied is true of the error if any attempt so far may have been, or yet be,
// applied. Errors: ErrSessionBusy, after which it was not proposed, ErrTooLarge, ErrSessionExpired, ErrSessionClosed, ErrCallForgotten after Abandon, and of the handle ErrStopped, ErrRemoved,
// ErrQuarantined, ErrFenced, ErrWitness, ErrStorageFailed, ErrDataLost; the cause of ctx.
func (c *Call) Propose(ctx context.Context) (rsm.Result, error) {
	var result rsm.Result
	err := c.session.via.Load().retry(ctx, func() (err error) {
		result, err = c.attempt(ctx)
		return err
	})
	if err == nil {
		return result, nil
	}
	return rsm.Result{}, c.outcome(err)
}

// attempt proposes once.
func (c *Call) attempt(ctx context.Context) (rsm.Result, error) {
	fields, ended, result, err := c.begin()
	if ended || err != nil {
		return result, err
	}
	result, err = c.session.via.Load().proposeCall(ctx, fields, c.command)
	return c.settle(result, err)
}

// ProposeAsync proposes the call once and returns at once. Unless it returns an error, done is called exactly once, on an engine goroutine or before
// ProposeAsync returns if the call has an answer already, with what Propose would return but that nothing is tried again: what passes is for
// the caller to propose once more. done must be short and must not block; it may propose again.
func (c *Call) ProposeAsync(done func(rsm.Result, error)) error {
	fields, ended, result, err := c.begin()
	if err != nil {
		return c.outcome(err)
	}
	if ended {
		done(result, nil)
		return nil
	}
	err = c.session.via.Load().replica.ProposeSession(fields, c.command, func(result rsm.Result, err error) {
		if result, err = c.settle(result, err); err != nil {
			err = c.outcome(err)
		}
		done(result, err)
	})
	if err != nil {
		_, err = c.settle(rsm.Result{}, err)
		return c.outcome(err)
	}
	return nil
}

// begin prepares an attempt: the first one makes the call one of the session's, and each carries the newest acknowledgement. If the call has
// ended it says how; the end of the session ends it.
func (c *Call) begin() (fields engine.SessionFields, ended bool, result rsm.Result, err error) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil {
		c.endLocked(rsm.Result{}, s.over)
	}
	if c.ended {
		return fields, true, c.result, c.err
	}
	if c.series == 0 {
		if c.place, err = s.beginLocked(); err != nil {
			return fields, false, result, err
		}
		c.series = s.next - 1
	}
	return s.fieldsLocked(c.series), false, result, nil
}

func (s *Session) busy() error {
	return fmt.Errorf("%w: call %d of the session has not ended, call %d has to wait", ErrSessionBusy, s.responded+1, s.next)
}

// Abandon ends the call without an answer: nobody is going to propose it again. Attempts under way may still be applied, one of them at most.
// After an answer it does nothing.
func (c *Call) Abandon() {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	c.endLocked(rsm.Result{}, ErrCallForgotten)
}

// settle takes the outcome of an attempt. What another attempt has brought meanwhile goes first.
func (c *Call) settle(result rsm.Result, err error) (rsm.Result, error) {
	if errors.Is(err, ErrSessionExpired) {
		err = c.session.expire(err)
	}
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.ended:
		return c.result, c.err
	case err == nil, errors.Is(err, ErrTooLarge), errors.Is(err, ErrSessionExpired), errors.Is(err, ErrSessionClosed):
		c.endLocked(result, err)
		return result, err
	}
	c.uncertain = c.uncertain || MaybeApplied(err)
	return rsm.Result{}, err
}

func (c *Call) endLocked(result rsm.Result, err error) {
	if c.ended {
		return
	}
	c.ended, c.result, c.err = true, result, err
	if c.place != nil { // or it was never proposed
		c.place.end()
		c.place = nil
	}
}

// outcome marks the error of a call as unknown if any attempt of it was.
func (c *Call) outcome(err error) error {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	if c.uncertain && !MaybeApplied(err) {
		return &uncertain{err}
	}
	return err
}

// uncertain is an error after an earlier attempt whose outcome is unknown.
type uncertain struct{ cause error }

func (u *uncertain) Error() string   { return u.cause.Error() + " (an earlier attempt may be applied)" }
func (u *uncertain) Unwrap() []error { return []error{u.cause, ErrMaybeApplied} }

// Retries wait from firstRetry on twice as long each time, up to lastRetry, and no longer than until the leader has changed.
const (
	firstRetry = time.Millisecond
	lastRetry  = 100 * time.Millisecond
)

// retry calls attempt until it succeeds, fails for good, or ctx ends.
func (s *Shard) retry(ctx context.Context, attempt func() error) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		changed := s.leaderChange() // before, so that no change is missed
		err := attempt()
		if err == nil || ctx.Err() != nil || !passes(err) {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		timer.Stop()
	}
}

// passes reports whether an attempt that ended with err may do better later through the same handle. An outcome that is unknown is of no
// concern: the session sees to it that what was applied is not applied again.
func passes(err error) bool {
	for _, passing := range [...]error{
		ErrBusy, ErrNoLeader, ErrNotLeader, ErrTransferring, ErrDiskFull, ErrTimeout, ErrLeaderChanged,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}
