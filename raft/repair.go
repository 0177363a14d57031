package raft

import (
	"math"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Lost is the record of promises of a replica whose state is not to be believed: whatever its log store holds is less. A replica
// that is started with it abstains and asks to be healed (R14, R15); what it holds stays until the shard has committed that.
func Lost() Promised { return Promised{VoteTerm: math.MaxUint64} }

// Repair has the replica rebuilt from the others. A follower goes on as what it is and asks its leader, again and again, to be made a
// learner of a new incarnation. The leader does that for one at a time, and only where the others are a quorum that it hears: two that were
// asked at once, each without knowing of the other, would leave none if they abstained. It is not remembered across a restart. A leader that
// has a quorum besides itself abstains at once, and so another one leads and heals it; that is remembered. Nothing is thrown away before a
// leader's membership says that it is healed. Reasons: Stopped; Denied if healing is turned off; Lost if this is the only voter, whose data
// nobody else has; PendingChange if two configurations are in effect, which it may be needed for; NotReady if the others are not known to
// go on without it.
func (c *Core) Repair(now Instant) raftpb.Reason {
	c.now = now
	switch {
	case c.role == RoleStopped:
		return raftpb.ReasonStopped
	case c.options.DisableHealing || c.options.NextIncarnation == 0:
		return raftpb.ReasonDenied
	case c.alone():
		return raftpb.ReasonLost
	case c.membership.Joint():
		return raftpb.ReasonPendingChange
	case c.role == RoleAbstaining:
		c.heal.promised = Lost()
		c.beginHealing()
		return raftpb.ReasonNone
	case !c.sparable(now):
		return raftpb.ReasonNotReady
	case c.role == RoleLeader:
		c.abstainInDoubt()
	default:
		c.heal.doubts = true
		c.askForRepair(now)
	}
	return raftpb.ReasonNone
}

func (c *Core) abstainInDoubt() {
	c.heal.promised = Lost()
	c.abstain()
}

// askForRepair asks at the pace of heartbeats, whoever leads.
func (c *Core) askForRepair(now Instant) {
	switch {
	case !c.heal.doubts:
		return
	case c.role == RoleLeader:
		if c.sparable(now) {
			c.abstainInDoubt()
		}
		return
	}
	c.heartbeatAt = c.nextHeartbeat(now)
	if c.leader == 0 {
		return
	}
	m := c.message(raftpb.MessageHeal, &peer{id: c.leader})
	m.HintIndex, m.Reason = c.options.NextIncarnation, raftpb.ReasonDamaged
	if c.leader == c.heal.leader {
		m.ToSession, m.Request = c.heal.session, c.heal.number
	}
	c.post(m)
}

// repairMember is what a leader does for a follower that asks for repair: one at a time, and none that is needed. The others have to be a quorum that
// was heard since it asked: one that went down a moment ago would be missed as soon as this one does not vote any more. The follower does what
// it promised up to the moment when it is addressed by its next incarnation.
func (c *Core) repairMember(now Instant, m *raftpb.Message, p *peer) {
	if p == nil || c.options.DisableHealing || m.HintIndex == 0 || m.HintIndex == p.incarnation {
		c.dropped++
		return
	}
	if p.heal.session != m.FromSession {
		p.heal = healRequest{session: m.FromSession, at: now}
	}
	if !c.expectsNumber(m, p) {
		return
	}
	if c.refusesHealing() || c.operationPending() || c.othersLost(p, now) {
		p.heal.at = now // it asks again
		return
	}
	heard := func(q *peer) bool { return q == nil || q != p && !q.lost && q.lastContact > p.heal.at }
	next := healedMembership(c.membership, m.From, m.HintIndex)
	if p.votes() && !c.quorumHas(heard) || !c.canDecide(&next) {
		return
	}
	p.heal = healRequest{}
	c.appendOwn(now, raftpb.NewMembership(c.options.ShardID, next))
}

// othersLost says that somebody else is to be healed first.
func (c *Core) othersLost(p *peer, now Instant) bool {
	for _, q := range c.peers {
		if q != p && q.votes() && (q.lost || c.saysLost(q.id, now)) {
			return true
		}
	}
	return false
}

// sparable says that the others go on without this replica, as far as is known here: one of them leads, or this one does and hears a quorum
// besides itself, and those that said that they lost their state, with this one, leave a quorum. Without one nobody would ever be
// healed, nor could the doubt be taken back.
func (c *Core) sparable(now Instant) bool {
	switch c.role {
	case RoleFollower:
		if c.leader == 0 || c.heardAt+c.electionTimeout() <= now {
			return false
		}
	case RoleLeader:
		if !c.quorumHas(func(p *peer) bool { return p != nil && !p.lost && p.lastContact+c.electionTimeout() > now }) {
			return false
		}
	default:
		return false
	}
	voters, left := 0, 0
	for i := range c.membership.Members {
		member := &c.membership.Members[i]
		if member.Kind == raftpb.Learner {
			continue
		}
		voters++
		if member.ReplicaID != c.options.ReplicaID && !c.saysLost(member.ReplicaID, now) {
			left++
		}
	}
	return left > voters/2
}
