package nodehost

import (
	"errors"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/rsm"
)

// place is where a call of a session stands from its first proposal until it has ended and all calls before it have. It is used again for a later
// call then, so that a session that has as many calls under way as before allocates nothing for them.
//
// A call ends without the session's lock: whoever ends it reads what it needs of the place, then sets ended, and does not touch the place any more. Under
// the lock, the next call to go out looks which of the oldest have ended, and takes over their places. The number of the call that ended says so of no
// later one, so that nothing is to be set back: each atomic store costs what a lock does.
type place struct {
	session  *Session
	series   uint64                  // of the call that has the place, or had it last
	ended    atomic.Uint64           // series of the last call here that has ended
	done     func(rsm.Result, error) // of ProposeAsync; a Call has its own
	complete func(rsm.Result, error) // p.finish, made once
}

// respondLocked finds out how far calls have ended. Their responses are acknowledged with the next proposal.
func (s *Session) respondLocked() {
	for s.responded+1 < s.next && s.placeLocked(s.responded+1).ended.Load() == s.responded+1 {
		s.responded++
	}
}

func (s *Session) placeLocked(series uint64) *place {
	return s.places[series&uint64(len(s.places)-1)]
}

// beginLocked numbers a call and gives it a place. ErrSessionBusy: too many before it have not ended.
func (s *Session) beginLocked() (*place, error) {
	s.respondLocked()
	if s.next-s.responded > uint64(len(s.places)) {
		if err := s.growLocked(); err != nil {
			return nil, err
		}
	}
	at := s.placeLocked(s.next)
	at.series = s.next
	s.next++
	return at, nil
}

// growLocked makes room for twice the calls. Those under way keep their places, which move in the ring; the others get theirs at once, side by side, for
// they are used one after another.
func (s *Session) growLocked() error {
	if len(s.places) == MaxSessionCalls {
		return s.busy()
	}
	old := s.places
	s.places = make([]*place, max(1, 2*len(old)))
	for series := s.responded + 1; series < s.next; series++ {
		s.places[series&uint64(len(s.places)-1)] = old[series&uint64(len(old)-1)]
	}
	fresh := make([]place, len(s.places)-len(old)) // as many as have none: all of old have one that is under way
	for at := range s.places {
		if s.places[at] == nil {
			p := &fresh[0]
			fresh = fresh[1:]
			p.session, p.complete = s, p.finish
			s.places[at] = p
		}
	}
	return nil
}

// finish ends the call of a ProposeAsync with its outcome.
func (p *place) finish(result rsm.Result, err error) {
	done := p.done
	if err != nil && errors.Is(err, ErrSessionExpired) {
		err = p.session.expire(err)
	}
	p.end()
	done(result, err)
}

// end ends the call; the place belongs to the session from then on.
func (p *place) end() {
	p.done = nil
	p.ended.Store(p.series)
}
