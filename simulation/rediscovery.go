package simulation

import (
	"slices"

	"github.com/flotilla-raft/flotilla/raft"
)

// What damage takes from a replica may be there again after a power cut, since what was between the two was not durable:
//
//   - a batch was moved to a place where it cannot be read, and is not yet gone from the old one;
//   - of two snapshots the newest was damaged, and the one before it removed. It is back, and with the log it is the whole state.
//
// The replica abstained until then, or served, and wrote nothing down of it: with all that it ever promised it rightly goes on as what it was. The shard may
// have begun to heal it meanwhile. Then it is healed, though it lost nothing.

// notesHeld notes what is durable of a replica that has just met damage (place.held).
func (p *place) notesHeld() {
	if m := p.host.disk.durable[keyOf(p)]; m != nil {
		p.held = m.clone()
	}
}

// rediscovers notes after a power cut that a replica that met damage has all again (place.resumed), unless the record of promises keeps that it lost
// something. It is that power cut or none: what is not there now was gone for good.
func (p *place) rediscovers() {
	was, now := p.held, p.host.disk.durable[keyOf(p)]
	p.held = nil
	if was == nil || now == nil || !p.lost || p.healed || p.host.promise.records[keyOf(p)].VoteTerm == raft.Lost().VoteTerm {
		return
	}
	if now.incarnation == was.incarnation && now.state.Term >= was.state.Term && now.holds(was.last(), was.lastTerm()) && p.reached() {
		p.lost, p.resumed = false, true
	}
}

// replaced says that a replica that resumed is another incarnation in a membership that was written since it met damage: it is healed for what it said then.
func (p *place) replaced() bool {
	m := p.host.disk.durable[keyOf(p)]
	if !p.resumed || m == nil {
		return false
	}
	return slices.ContainsFunc(p.shard.configurations, func(c configuration) bool {
		return c.at >= p.lostAt && slices.ContainsFunc(c.members, func(v voter) bool {
			return v.host == p.host.index && v.incarnation != 0 && v.incarnation != m.incarnation
		})
	})
}
