package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// Priorities (Member.Priority) say which voter should lead. They never decide who may: a vote is granted whatever the ranks, so a
// shard elects somebody whenever a majority can be reached, only later.
//
// A voter below another one gives way for one election timeout before it campaigns, and no more until it has heard a leader
// again: the wait does not add up while nobody wins. PriorityLast gives way until no other voter has won for three
// election timeouts (R21). The leader that was just lost does not count among those above. Among equals there is no delay at all.
//
// A leader below another voter hands over to it when that one holds nearly the whole log at two checks in a row, an election timeout
// apart; with PriorityLast at once. Each attempt doubles the time to the next, also when it succeeded and leadership came
// back: a voter that wins and loses again and again must not keep the shard busy with hand-overs.

// yield is how a voter gives way before it campaigns, and when a leader offers its leadership to one above it.
type yield struct {
	lastLeader uint64  // other replica that was followed last; it was just lost when a campaign is considered
	until      Instant // gives way until then; 0 when a leader was heard since
	outranked  bool    // another voter has a higher priority
	candidate  uint64  // leader: the voter above it that was ready at the last check
	attempts   int
	offeredAt  Instant // of the last attempt
}

const (
	// yieldTimeouts and lastYieldTimeouts are the election timeouts that are waited on top of the randomized one.
	yieldTimeouts     = 1
	lastYieldTimeouts = 2
	// maxOfferShift bounds the time between two offers to 64 election timeouts; after twice that they count anew.
	maxOfferShift = 6
)

// learnRank notes whether another voter has a higher priority, when the membership changes.
func (c *Core) learnRank() { c.yield.outranked = c.voterAbove(0) }

// voterAbove says whether there is a voter with a higher priority than this replica's, besides one that does not count.
func (c *Core) voterAbove(besides uint64) bool {
	own := c.rank(c.options.ReplicaID)
	for i := range c.membership.Members {
		member := &c.membership.Members[i]
		if member.Kind == raftpb.Voter && member.ReplicaID != besides && member.ReplicaID != c.options.ReplicaID &&
			member.Goal == raftpb.GoalStay && member.Priority.Rank() > own {
			return true
		}
	}
	return false
}

// lastResort says that the replica is to lead only when no other can (R21).
func (c *Core) lastResort() bool { return c.rank(c.options.ReplicaID) <= raftpb.PriorityLast.Rank() }

// givesWay puts off a campaign that is due, so that a voter with a higher priority comes first.
func (c *Core) givesWay(now Instant) bool {
	y := &c.yield
	if !y.outranked || c.role != RoleFollower || !c.electable() || y.until != 0 || !c.voterAbove(y.lastLeader) {
		return false
	}
	timeouts := Instant(yieldTimeouts)
	if c.lastResort() {
		timeouts = lastYieldTimeouts
	}
	c.setLeader(0, 0, 0)
	y.until = now + timeouts*c.electionTimeout()
	c.electionAt = y.until
	return true
}

// offerLeadership hands over to a voter with a higher priority, if one is ready.
func (c *Core) offerLeadership(now Instant) {
	y := &c.yield
	if !y.outranked || c.role != RoleLeader || c.transfer.leader.active || c.unfit() || c.commit < c.termStart {
		return
	}
	if wait := c.electionTimeout() << min(y.attempts, maxOfferShift); y.attempts > 0 && now < y.offeredAt+wait {
		return
	}
	p := c.readyAbove(now)
	if p == nil {
		y.candidate = 0
		return
	}
	if y.candidate != p.id && !c.lastResort() {
		y.candidate = p.id
		return
	}
	if now >= y.offeredAt+c.electionTimeout()<<(maxOfferShift+1) {
		y.attempts = 0
	}
	y.attempts++
	y.offeredAt, y.candidate = now, 0
	_ = c.beginTransfer(now, leaderTransfer{target: p.id})
}

// readyAbove is the best voter above this one that can take over without keeping anybody waiting.
func (c *Core) readyAbove(now Instant) *peer {
	p := c.bestVoter(now, false)
	if p == nil || p.state != ProgressReplicate || c.rank(p.id) <= c.rank(c.options.ReplicaID) || p.refuses != raftpb.ReasonNone ||
		!c.nearlyHolds(p) {
		return nil
	}
	return p
}

// nearlyHolds says that a follower lacks no more of the log than one message holds.
func (c *Core) nearlyHolds(p *peer) bool {
	size := 0
	for i := c.log.runs.len() - 1; i >= 0; i-- {
		r := c.log.runs.at(i)
		if r.last() <= p.match {
			return true
		}
		if size += int(r.bytes); size > c.options.MaxMessageBytes {
			return false
		}
	}
	return p.match == c.log.last
}
