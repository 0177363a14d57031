package simulation

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
)

// ended takes the outcome of an attempt, which has one (R3). What a dead host would still say is lost.
func (c *sessions) ended(a *attempt, result rsm.Result, err error) {
	w := c.world
	w.happened++
	shard := a.session.client.shard
	if a.ended {
		if a.life == a.host.life && a.host.up {
			w.violate("answers", "shard %d: call %d of session %x is answered twice", shard.id, a.series, a.session.id)
		}
		return
	}
	a.ended = true
	fate := fateOf(err)
	w.trace.add(record{at: w.now, kind: recordAnswer, host: int32(a.host.index), shard: shard.id, text: fateNames[fate],
		numbers: [6]uint64{a.series, result.Value, a.session.id}})
	switch {
	case fate == fateWrong || fate == fateAbsent && shard.sessions.keeps || fate == fateDone && !shard.sessions.keeps:
		w.violate("sessions", "shard %d: call %d of session %x is answered: %v", shard.id, a.series, a.session.id, err)
	case a.call != nil:
		c.callEnded(a.call, fate, result)
	case a.series == rsm.SeriesOpen:
		c.registerEnded(a.session, fate)
	}
}

// fateOf tells the outcomes of an attempt apart.
func fateOf(err error) sessionFate {
	switch {
	case err == nil:
		return fateDone
	case errors.Is(err, rsm.ErrSessionExpired):
		return fateExpired
	case errors.Is(err, rsm.ErrCallForgotten):
		return fateForgotten
	case errors.Is(err, rsm.ErrNoSessions):
		return fateAbsent
	case errors.Is(err, rsm.ErrSessionWindow), errors.Is(err, rsm.ErrBadSession):
		return fateWrong
	case engine.MaybeApplied(err):
		return fateUnknown
	}
	return fateRefused
}

func (c *sessions) registerEnded(s *session, fate sessionFate) {
	client := s.client
	switch fate {
	case fateDone:
		s.opened = true
		c.world.counters.add(countSessions, 1)
		if client.session == nil {
			client.session = s
		}
	case fateAbsent:
		client.refused = true
	}
}

func (c *sessions) callEnded(call *sessionCall, fate sessionFate, result rsm.Result) {
	w := c.world
	call.under--
	switch fate {
	case fateDone:
		c.checkAnswer(call, result)
		switch {
		case call.ended:
		case c.random.chance(w.plan.sessions.dropped) && !w.quiet:
			w.counters.add(countSessionDropped, 1)
			call.uncertain = true
			c.tryLater(call, 500*time.Millisecond)
		default:
			call.version = binary.LittleEndian.Uint64(result.Data)
			c.endCall(call, statusAnswered)
		}
		return
	case fateExpired:
		call.said |= fate
		w.counters.add(countSessionExpired, 1)
		if s := call.session; s.client.session == s {
			c.end(s.client)
		}
	case fateForgotten:
		call.said |= fate
		w.counters.add(countSessionForgotten, 1)
		if !call.ended {
			w.violate("sessions", "shard %d: call %d of session %x is said to be acknowledged, and was not", call.shard.id, call.series, call.session.id)
		}
	case fateUnknown:
		call.uncertain = true
	}
	wait := 50 * time.Millisecond << min(call.tries, 5)
	if w.quiet {
		wait = min(wait, 200*time.Millisecond)
	}
	call.tries++
	c.tryLater(call, wait)
}

// checkAnswer: whoever gets an answer gets that of the one time that the call was applied.
func (c *sessions) checkAnswer(call *sessionCall, result rsm.Result) {
	w := c.world
	switch {
	case call.index == 0 || result.Value != call.index:
		w.violate("sessions", "shard %d: call %d of session %x, operation %d, is answered with the result of entry %d, it was applied at %d (0: not at all)",
			call.shard.id, call.series, call.session.id, call.id, result.Value, call.index)
		return
	case len(result.Data) != 8 || binary.LittleEndian.Uint64(result.Data) != call.made:
		w.violate("sessions", "shard %d: call %d of session %x, operation %d, is answered with the data %x, when it was applied that was %d", call.shard.id,
			call.series, call.session.id, call.id, result.Data, call.made)
	case call.index <= call.floor:
		w.violate("linearizability", "shard %d: operation %d took place at entry %d, but began after entry %d had been shown", call.shard.id, call.id,
			call.index, call.floor)
	}
	call.shard.show(call.index)
}

// endUnanswered ends a call that the client gives up. It was surely not done if no attempt says otherwise.
func (c *sessions) endUnanswered(call *sessionCall) {
	if call.uncertain || call.under > 0 {
		c.endCall(call, statusUnknown)
		return
	}
	if call.index != 0 {
		c.world.violate("outcomes", "shard %d: every attempt of operation %d was surely not applied, but it was, at entry %d", call.shard.id, call.id, call.index)
	}
	c.endCall(call, statusRefused)
}

// endCall ends a call; once all before it have ended, too, the next proposal acknowledges it.
func (c *sessions) endCall(call *sessionCall, as status) {
	s := call.session
	call.ended = true
	c.open--
	c.world.clients.end(call.operation, as, nil)
	for s.responded < uint64(len(s.calls)) && s.calls[s.responded].ended {
		s.responded++
	}
}
