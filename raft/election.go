package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// ballot is what a member answered in the current campaign.
type ballot uint8

const (
	ballotOpen ballot = iota
	ballotGranted
	ballotDenied
)

// electable says that the replica may campaign. Its membership need not be committed: see neededOnceMore.
func (c *Core) electable() bool {
	return (c.selfVotes() || c.neededOnceMore()) && !c.witness && !c.unfit() && !c.installing && !c.install.recovering
}

// electionDue runs when no leader was heard for a whole randomized timeout.
func (c *Core) electionDue(now Instant) {
	if c.waitOutPromise(now) || c.givesWay(now) {
		return
	}
	c.resetElectionTimer(now)
	switch c.role {
	case RoleFollower, RolePreCandidate, RoleCandidate:
	default:
		c.electionAt = Never
		return
	}
	c.setLeader(0, 0, 0)
	c.judgeLosses(now)
	switch {
	case !c.electable():
		c.becomeFollower(now, c.term)
	case c.options.DisablePreVote:
		c.campaign(now, false)
	default:
		c.preCampaign(now)
	}
}

// preCampaign asks whether an election would be won; nothing is promised and no term changes (thesis 9.6).
func (c *Core) preCampaign(now Instant) {
	c.leaveRole()
	c.pull.newCampaign()
	c.role = RolePreCandidate
	c.request++
	c.solicit(raftpb.MessagePreVote, c.term+1, false)
	if c.tally(true) == ballotGranted {
		c.campaign(now, false)
	}
}

// campaign begins a term of its own. The vote for itself is a promise as any other: it counts, and the requests leave,
// when it is durable (R6).
func (c *Core) campaign(now Instant, transfer bool) {
	c.leaveRole()
	if c.role != RolePreCandidate { // else it is the same attempt
		c.pull.newCampaign()
	}
	c.setTerm(c.term + 1)
	c.vote = c.options.ReplicaID
	c.setLeader(0, 0, 0)
	c.role, c.transfer.elected = RoleCandidate, transfer
	c.request++
	c.resetElectionTimer(now)
	c.solicit(raftpb.MessageVote, c.term, transfer)
}

// solicit opens the ballots and asks every voter.
func (c *Core) solicit(t raftpb.MessageType, term uint64, transfer bool) {
	last := c.log.lastEntry()
	for _, p := range c.peers {
		p.ballot, p.ahead = ballotOpen, false
		if !p.votes() {
			continue
		}
		m := c.message(t, p)
		m.Term, m.Transfer, m.Request = term, transfer, c.request
		m.LogIndex, m.LogTerm = last.Index, last.Term
		c.post(m)
	}
}

// ownVoteSaved counts the candidate's own vote: the storage completion says that it is durable.
func (c *Core) ownVoteSaved(now Instant) {
	if c.role == RoleCandidate && c.tally(true) == ballotGranted {
		c.becomeLeader(now)
	}
}

// handlePreVote answers whether a vote would be granted. It changes nothing here. A replica votes whatever its own
// configuration says of itself: the candidate's may be newer (R17).
func (c *Core) handlePreVote(now Instant, m *raftpb.Message, p *peer) {
	if m.Term < c.term || c.storage.halted() || c.leaderAlive(now) || !c.mayVote(m) {
		c.denyVote(m, p, raftpb.MessagePreVoteResponse)
		return
	}
	c.answer(m, raftpb.MessagePreVoteResponse, raftpb.ReasonNone).Term = m.Term
}

// mayVote compares the candidate's log with this one (thesis 3.6.1) and, within a term, with the vote already given.
func (c *Core) mayVote(m *raftpb.Message) bool {
	if m.Term == c.term && c.vote != m.From && (c.vote != 0 || c.leader != 0 || c.term == c.sealed) {
		return false
	}
	candidate := entryID{Index: m.LogIndex, Term: m.LogTerm}
	return candidate.Term < m.Term && candidate.atLeast(c.log.lastEntry())
}

// handleVote grants or denies. The grant waits in the outbox until it is durable, as every later grant of the same vote
// does (R6).
func (c *Core) handleVote(now Instant, m *raftpb.Message, p *peer) {
	if !m.Transfer && c.bound(now) { // the term may have come by another message
		c.denyVote(m, p, raftpb.MessageVoteResponse)
		return
	}
	if c.storage.halted() || c.role == RoleLeader || !c.mayVote(m) {
		c.denyVote(m, p, raftpb.MessageVoteResponse)
		return
	}
	if c.vote != m.From {
		c.vote = m.From
		c.save.state = true
	}
	c.resetElectionTimer(now)
	c.answer(m, raftpb.MessageVoteResponse, raftpb.ReasonNone)
}

// denyVote tells a candidate that was removed so instead (R18), but only when its log would lose anyway: one that is up
// to date may be in a newer membership than the one known here, and this vote may be the one that it lacks (R17). Granting it
// is safe: a replica that was really removed lacks the committed entry that says so.
func (c *Core) denyVote(m *raftpb.Message, p *peer, t raftpb.MessageType) {
	if !c.sayRemoved(m, p) {
		c.sayWhyDenied(m, t)
	}
}

// sayWhyDenied tells a candidate whose log is shorter where this one ends.
func (c *Core) sayWhyDenied(m *raftpb.Message, t raftpb.MessageType) {
	last := c.log.lastEntry()
	if candidate := (entryID{Index: m.LogIndex, Term: m.LogTerm}); candidate.atLeast(last) {
		c.answer(m, t, raftpb.ReasonDenied)
		return
	}
	answer := c.answer(m, t, raftpb.ReasonBehind)
	answer.HintIndex, answer.HintTerm = last.Index, last.Term
}

func (c *Core) handlePreVoteResponse(now Instant, m *raftpb.Message, p *peer) {
	granted := m.Reason == raftpb.ReasonNone
	if m.Request != c.request || granted != (m.Term == c.term+1) {
		c.dropped++
		return
	}
	c.cast(m, p)
	if c.tally(true) == ballotGranted {
		c.campaign(now, false)
	}
}

func (c *Core) handleVoteResponse(now Instant, m *raftpb.Message, p *peer) {
	if m.Request != c.request {
		c.dropped++
		return
	}
	c.cast(m, p)
	switch c.tally(c.save.stateDurable()) {
	case ballotGranted:
		if c.save.stateDurable() {
			c.becomeLeader(now)
		}
	case ballotDenied:
		c.becomeFollower(now, c.term)
	}
}

// cast notes an answer. A grant is never taken back: a late denial answers an earlier copy of the request.
func (c *Core) cast(m *raftpb.Message, p *peer) {
	p.ahead = m.Reason == raftpb.ReasonBehind && !c.log.lastEntry().atLeast(entryID{Index: m.HintIndex, Term: m.HintTerm})
	if p.ahead {
		c.deniedForLongerLog(m, p)
	}
	switch {
	case m.Reason == raftpb.ReasonNone:
		p.ballot = ballotGranted
	case p.ballot == ballotOpen:
		p.ballot = ballotDenied
	}
}

// becomeFollower enters term, if it is higher, and waits for a leader.
func (c *Core) becomeFollower(now Instant, term uint64) {
	c.leaveRole()
	if term > c.term {
		c.setTerm(term)
		c.setLeader(0, 0, 0)
	} else if c.leader == c.options.ReplicaID {
		c.setLeader(0, 0, 0)
	}
	c.role = RoleFollower
	c.resetElectionTimer(now)
}

// setTerm enters a higher term. What waits to be said in the old one is dropped: a promise of a term that is over is
// worth nothing, and its write may never happen on its own.
func (c *Core) setTerm(term uint64) {
	c.term, c.vote, c.claim = term, 0, claim{}
	c.save.state = true
	c.ack, c.beat = acknowledgement{}, heartbeatAnswer{}
	kept := c.outbox[:0]
	for i := range c.outbox {
		if termless[c.outbox[i].Type] {
			kept = append(kept, c.outbox[i])
		}
	}
	clear(c.outbox[len(kept):])
	c.outbox = kept
}

// setLeader notes who leads the term. Whatever waits for the former leader ends here: its outcome cannot be known (R3).
func (c *Core) setLeader(replica, session, incarnation uint64) {
	if c.leader == replica {
		return
	}
	c.leader, c.leaderSession, c.leaderIncarnate, c.leaderKnows = replica, session, incarnation, false
	if replica != 0 {
		c.claim = claim{replica, session, incarnation}
		c.pull = pullState{}
	}
	if replica != 0 { // whoever has a leader has a quorum, and is known to it
		c.heal.asks, c.heal.dataLost = false, false
	}
	if replica != 0 && replica != c.options.ReplicaID {
		c.yield.lastLeader = replica
		if c.heal.doubts {
			c.heartbeatAt = c.nextHeartbeat(c.now)
		}
	}
	c.ack.due, c.beat.due = false, false
	c.endUndecided(raftpb.ReasonNotLeader)
	c.endForwardedReads(raftpb.ReasonNotLeader)
	c.loseChangeWaits()
	c.transferSettled()
	c.event(Event{Kind: EventLeaderChanged, Leader: replica})
}

// leaveRole ends what belongs to the present role only.
func (c *Core) leaveRole() {
	if c.role != RoleLeader {
		return
	}
	c.refuseQueuedReads(raftpb.ReasonNotLeader)
	c.leaderLeavesTransfer()
	c.fresh.round = 0
	c.heartbeatAt, c.checkAt = Never, Never
	c.sendDue, c.heartbeatsDue, c.crowded = false, false, false
	c.standIns.standsIn = false
	c.roundTrip = roundTrip{}
	for _, p := range c.peers {
		c.endFollower(p)
	}
}
