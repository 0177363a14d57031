package raft

import (
	"slices"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// catchingUp measures how fast a learner that is to be promoted follows, in rounds: one ends when the learner has all that the
// leader's log held when it began (thesis 4.2.1).
type catchingUp struct {
	end   uint64  // last entry of the present round, 0 before the first
	since Instant // when it began
	fast  bool    // the previous one took less than an election timeout
}

// continueChange appends the next entry of the operation under way, if it is time for it. It runs after every message and every
// write that completes while there is something left to do, so whoever leads goes on from what the newest membership says.
func (c *Core) continueChange(now Instant) {
	if c.role != RoleLeader {
		return
	}
	c.now = now
	for _, p := range c.peers {
		if p.promoting {
			c.followRounds(now, p)
		}
	}
	if !c.mayChange() || c.transfer.leader.active || c.unfit() {
		return
	}
	m := c.membership
	switch {
	case m.Joint():
		c.appendMembership(raftpb.Membership{Members: m.Members, Operation: m.Operation})
	case !finished(m) && c.allCaughtUp(now):
		learned, _ := c.learnIncarnations(m)
		if next := switchOver(&learned, reachedGoals(learned.Members)); c.canDecide(&next) {
			c.appendMembership(next)
		}
	default:
		c.recordIncarnations()
	}
}

// followRounds ends a round that the learner has finished and begins the next.
func (c *Core) followRounds(now Instant, p *peer) {
	r := &p.rounds
	if r.end != 0 && p.match < r.end {
		return
	}
	r.fast = r.end != 0 && now-r.since < c.electionTimeout()
	r.end, r.since = max(c.log.last, 1), now
}

// allCaughtUp says that everybody who is to be promoted could be at once, and the shard would go on: it is heard, is
// sent to without waiting, and has all of the log, or gets it within an election timeout. Who is promoted is known by
// incarnation, for that is whose votes count (R15).
func (c *Core) allCaughtUp(now Instant) bool {
	for _, p := range c.peers {
		if !p.promoting {
			continue
		}
		timeout := c.electionTimeout()
		near := p.match >= c.log.last || p.rounds.fast && now-p.rounds.since < timeout
		live := p.state == ProgressReplicate && !p.lost && !p.paused && p.lastContact+timeout > now
		if p.incarnation == 0 || !near || !live {
			return false
		}
	}
	return true
}

// recordIncarnations writes into the membership what members that were added without an incarnation turned out to be, so that
// no other one can ever vote or acknowledge under their IDs (R15). Until then the first one heard counts. Those who are to be
// promoted are recorded by the entry that does it.
func (c *Core) recordIncarnations() {
	m, known := c.learnIncarnations(c.membership)
	if known {
		c.appendMembership(m)
	}
}

// learnIncarnations returns m, which is not joint, with the incarnations that were heard; known says that there is one of a member
// that waits for nothing else.
func (c *Core) learnIncarnations(m *raftpb.Membership) (learned raftpb.Membership, known bool) {
	learned = raftpb.Membership{Members: slices.Clone(m.Members), Operation: m.Operation}
	if self := memberOf(&learned, c.options.ReplicaID); self != nil && self.Incarnation == 0 {
		self.Incarnation, known = c.bootstrap.Incarnation, true
	}
	for _, p := range c.peers {
		if member := memberOf(&learned, p.id); member != nil && member.Incarnation == 0 && p.incarnation != 0 {
			member.Incarnation = p.incarnation
			known = known || !p.promoting
		}
	}
	return learned, known
}

// unfinished says that whoever leads has something to do: goals to reach, a joint membership to leave, incarnations to record.
func unfinished(m *raftpb.Membership) bool {
	return !finished(m) || slices.ContainsFunc(m.Members, func(member raftpb.Member) bool { return member.Incarnation == 0 })
}
