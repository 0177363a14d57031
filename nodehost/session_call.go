package nodehost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flotilla-raft/flotilla/rsm"
)

// Call is one call of a Session. It may be proposed any number of times until it has ended, and is applied at most once. It ends with
// an answer, which every later Propose returns again, or with an error that no further attempt can change: ErrTooLarge, the
// end of the session, Abandon. It is safe for concurrent use.
type Call struct {
	session *Session
	series  uint64
	command []byte

	// Guarded by session.mu.
	ended     bool
	uncertain bool // an attempt has ended without saying whether it was applied
	result    rsm.Result
	err       error
}

// Propose proposes the call and returns its result once this host's state machine has applied it. Whatever passes (an election, a full queue, a
// lost leader, a timeout) is tried again until ctx ends. Unless the call has ended it may be proposed again after an error, and is to be,
// here or after Session.Via elsewhere, or abandoned. MaybeApplied is true of the error if any attempt so far may have been, or yet be,
// applied. Errors: ErrTooLarge, ErrSessionExpired, ErrSessionClosed, ErrCallForgotten after Abandon, and of the handle ErrStopped, ErrRemoved,
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
	fields, over := c.session.fields(c.series)
	if result, ended, err := c.end(over); ended {
		return result, err
	}
	result, err := c.session.via.Load().proposeCall(ctx, fields, c.command)
	return c.settle(result, err)
}

// ProposeAsync proposes the call once and returns at once. Unless it returns an error, done is called exactly once, on an engine goroutine, with what Propose would
// return but that nothing is tried again: what passes is for the caller to propose once more. done must be short and must not block;
// it may propose again.
func (c *Call) ProposeAsync(done func(rsm.Result, error)) error {
	fields, over := c.session.fields(c.series)
	if result, ended, err := c.end(over); ended {
		if err != nil {
			return c.outcome(err)
		}
		done(result, nil)
		return nil
	}
	err := c.session.via.Load().replica.ProposeSession(fields, c.command, func(result rsm.Result, err error) {
		result, err = c.settle(result, err)
		if err != nil {
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

// Abandon ends the call without an answer: nobody is going to propose it again. Attempts under way may still be applied, one of them at most.
// After an answer it does nothing.
func (c *Call) Abandon() {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	c.endLocked(rsm.Result{}, fmt.Errorf("%w: call %d", ErrCallForgotten, c.series))
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

// end returns how the call has ended; over, if not nil, ends it.
func (c *Call) end(over error) (result rsm.Result, ended bool, err error) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if over != nil {
		c.endLocked(rsm.Result{}, over)
	}
	return c.result, c.ended, c.err
}

func (c *Call) endLocked(result rsm.Result, err error) {
	if c.ended {
		return
	}
	c.ended, c.result, c.err = true, result, err
	c.command = nil
	c.session.endLocked(c.series)
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
