package nodehost

import (
	"errors"

	"github.com/flotilla-raft/flotilla/rsm"
)

// ProposeAsync makes a call, proposes it once and returns at once. Unless it returns an error, after which the command was surely not applied, done is
// called exactly once, on an engine goroutine. Nothing is tried again, and the call ends with its outcome: if MaybeApplied is true of the
// error the command may have been, or yet be, applied, once. Whoever wants to try again uses a Call. The command is copied. done must be short
// and must not block; it may propose again. Errors: those of Call.Propose, and those that pass.
func (s *Session) ProposeAsync(command []byte, done func(rsm.Result, error)) error {
	s.mu.Lock()
	err := s.over
	if err == nil && s.next-s.responded > MaxSessionCalls {
		err = s.busy()
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	a := s.attemptLocked()
	a.done, a.series = done, s.next
	fields := s.fieldsLocked(s.next)
	s.next++
	s.mu.Unlock()
	if err = s.via.Load().replica.ProposeSession(fields, command, a.complete); err != nil {
		_ = a.end(nil) // done is not called
	}
	return err
}

// attempt is one ProposeAsync. It is used again once its outcome is there, which comes exactly once, so that a session that has as many calls under way as
// before allocates nothing for them.
type attempt struct {
	session  *Session
	series   uint64
	done     func(rsm.Result, error)
	complete func(rsm.Result, error) // a.finish, made once
}

func (s *Session) attemptLocked() *attempt {
	if last := len(s.free) - 1; last >= 0 {
		a := s.free[last]
		s.free = s.free[:last]
		return a
	}
	a := &attempt{session: s}
	a.complete = a.finish
	return a
}

func (a *attempt) finish(result rsm.Result, err error) {
	done := a.done
	if end := a.end(err); end != nil {
		err = end
	}
	done(result, err)
}

// end ends the call and gives the attempt back. It returns what is to be said instead of err, if anything.
func (a *attempt) end(err error) (instead error) {
	s := a.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && errors.Is(err, ErrSessionExpired) {
		instead = s.expireLocked(err)
	}
	s.endLocked(a.series)
	a.done = nil
	s.free = append(s.free, a)
	return instead
}
