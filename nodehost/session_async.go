package nodehost

import (
	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
)

// ProposeAsync makes a call, proposes it once and returns at once. Unless it returns an error, after which the command was surely not applied, done is
// called exactly once, on an engine goroutine. Nothing is tried again, and the call ends with its outcome: if MaybeApplied is true of the
// error the command may have been, or yet be, applied, once. Whoever wants to try again uses a Call. The command is copied. done must be short
// and must not block; it may propose again. Errors: those of Call.Propose, and those that pass.
func (s *Session) ProposeAsync(command []byte, done func(rsm.Result, error)) error {
	s.mu.Lock()
	if s.over != nil {
		defer s.mu.Unlock()
		return s.over
	}
	place, err := s.beginLocked()
	if err != nil {
		s.mu.Unlock()
		return err
	}
	place.done = done
	fields := engine.SessionFields{Client: s.client, Series: s.next - 1, Responded: s.responded}
	s.mu.Unlock()
	if err = s.via.Load().replica.ProposeSession(fields, command, place.complete); err != nil {
		place.end() // done is not called
	}
	return err
}
