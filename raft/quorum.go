package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// electorate is one of the sets of voters whose majority every decision needs: elections, commit, rounds of heartbeats,
// check-quorum. A joint membership has two (thesis 4.3), any other has one.
type electorate uint8

const (
	incoming electorate = 1 << iota // the voters among Membership.Members
	outgoing                        // the voters among Membership.Outgoing
)

// electorates is who votes where by the effective membership. The numbers count every voter that it names; who is named under
// an incarnation that is not the present one is counted, and adds nothing (R15).
type electorates struct {
	incoming, outgoing int
	witnesses          bool       // some of them are witnesses
	self               electorate // those that this replica votes in; 0 for a witness, which never leads
}

// quorumOf returns the highest value that a quorum reaches: a majority of the voters, of both electorates while the
// membership is joint. value is called with nil for this replica; it does not escape, so a literal costs no allocation.
// Without voters the result is 0.
func (c *Core) quorumOf(value func(p *peer) uint64) uint64 {
	reached := c.majorityOf(incoming, c.voters.incoming, value)
	if c.membership.Joint() {
		reached = min(reached, c.majorityOf(outgoing, c.voters.outgoing, value))
	}
	return reached
}

// majorityOf returns the highest value that more than half of the voters of one electorate reach.
func (c *Core) majorityOf(e electorate, voters int, value func(p *peer) uint64) uint64 {
	var space [16]uint64
	values := space[:0]
	if c.voters.self&e != 0 {
		values = append(values, value(nil))
	}
	for _, p := range c.peers {
		if p.votesIn&e != 0 {
			values = insertSorted(values, value(p))
		}
	}
	if len(values) <= voters/2 {
		return 0
	}
	return values[voters/2]
}

// insertSorted keeps values descending.
func insertSorted(values []uint64, v uint64) []uint64 {
	values = append(values, v)
	for i := len(values) - 1; i > 0 && values[i-1] < v; i-- {
		values[i-1], values[i] = values[i], values[i-1]
	}
	return values
}

// quorumHas says whether a quorum has a property. has is called with nil for this replica.
func (c *Core) quorumHas(has func(p *peer) bool) bool {
	return c.quorumOf(func(p *peer) uint64 {
		if has(p) {
			return 1
		}
		return 0
	}) == 1
}

// selfVotes says that this replica is a voter of the effective membership, in either electorate: then it may campaign.
func (c *Core) selfVotes() bool { return c.voters.self != 0 }

// alone says that this replica is a quorum by itself.
func (c *Core) alone() bool { return c.quorumHas(func(p *peer) bool { return p == nil }) }

// countVoters finds who votes by the effective membership. The peers are made already.
func (c *Core) countVoters() {
	c.voters = electorates{
		incoming: countVoters(c.membership.Members), outgoing: countVoters(c.membership.Outgoing),
		self: c.votesIn(incoming, c.membership.Members) | c.votesIn(outgoing, c.membership.Outgoing),
	}
	self := memberOf(c.membership, c.options.ReplicaID)
	// For good: what was passed over will never be applied. A core that is made later applies from the begin, and finds out.
	// One that joined is a witness if it was started as one: the memberships in the log that it is sent may speak of a former owner of its number.
	c.witness = c.witness || c.options.Witness || !c.bootstrap.Join && headersOnly(self) && (c.handed == 0 || self.Kind == raftpb.Witness)
	c.passOver()
	for _, p := range c.peers {
		p.headersOnly = headersOnly(memberOf(c.membership, p.id))
		c.voters.witnesses = c.voters.witnesses || p.kind == raftpb.Witness
		p.votesIn = 0
		if p.electedBy(c.membership.Members) {
			p.votesIn |= incoming
		}
		if p.electedBy(c.membership.Outgoing) {
			p.votesIn |= outgoing
		}
	}
}

func countVoters(members []raftpb.Member) int {
	voters := 0
	for i := range members {
		if members[i].Kind != raftpb.Learner {
			voters++
		}
	}
	return voters
}

// votesIn says whether this replica is a voter, and no witness, among the members, in the incarnation that it is.
func (c *Core) votesIn(e electorate, members []raftpb.Member) electorate {
	member := findMember(members, c.options.ReplicaID)
	if member != nil && member.Kind == raftpb.Voter &&
		(member.Incarnation == 0 || member.Incarnation == c.bootstrap.Incarnation) {
		return e
	}
	return 0
}

// electedBy says whether the peer votes among the members, in the incarnation that it is known by.
func (p *peer) electedBy(members []raftpb.Member) bool {
	member := findMember(members, p.id)
	return member != nil && member.Kind != raftpb.Learner &&
		(member.Incarnation == 0 || p.incarnation == 0 || member.Incarnation == p.incarnation)
}

func findMember(members []raftpb.Member, id uint64) *raftpb.Member {
	for i := range members {
		if members[i].ReplicaID == id {
			return &members[i]
		}
	}
	return nil
}

// quorumMatch returns the highest index that a quorum holds durably, this replica among it only up to its own durable index. Where
// there are witnesses it is what R19 demands of the data voters besides.
func (c *Core) quorumMatch() uint64 {
	index := c.quorumOf(func(p *peer) uint64 {
		if p == nil {
			return c.log.durable
		}
		return p.countedMatch()
	})
	if c.voters.witnesses {
		index = min(index, c.dataMatch(true))
	}
	return index
}

// countedMatch is the follower's part in commit: none if it lost what it had acknowledged.
func (p *peer) countedMatch() uint64 {
	if p.lost {
		return 0
	}
	return p.match
}

// quorumRound is the highest round of heartbeats that a quorum answered.
func (c *Core) quorumRound() uint64 {
	return c.quorumOf(func(p *peer) uint64 {
		switch {
		case p == nil:
			return c.reads.round
		case p.lost:
			return 0
		}
		return p.round
	})
}

// heardByQuorum says that a quorum answered within the last election timeout.
func (c *Core) heardByQuorum(now Instant) bool {
	return c.quorumHas(func(p *peer) bool { return p == nil || p.lastContact+c.electionTimeout() > now })
}

// tally says how the campaign stands. own is whether this replica's own vote counts yet. It is lost when those that have
// denied leave no quorum.
func (c *Core) tally(own bool) ballot {
	switch {
	case c.quorumHas(func(p *peer) bool { return p == nil && own || p != nil && p.ballot == ballotGranted }):
		return ballotGranted
	case !c.quorumHas(func(p *peer) bool { return p == nil || p.ballot != ballotDenied }):
		return ballotDenied
	}
	return ballotOpen
}
