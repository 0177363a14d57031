package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// beginProgress is where every follower starts in a new term of leadership: nothing is known, one probe at a time.
func (p *peer) beginProgress(next, request uint64, now Instant) {
	p.forgetProgress()
	p.next, p.since = next, request
	p.lastContact = now
}

// forgetProgress frees what only a leader needs.
func (p *peer) forgetProgress() {
	p.state, p.paused, p.lost, p.damage = ProgressProbe, false, false, damageNone
	p.match, p.next, p.acked, p.since, p.probe, p.probeLast = 0, 0, entryID{}, 0, 0, 0
	p.inflight, p.inflightBytes = deque[span]{}, 0
	p.round, p.commitSent, p.waitIndex, p.stalledAt, p.nudgeAt = 0, 0, 0, 0, 0
	p.reading, p.batches, p.offer = 0, nil, nil
	p.declinedAt, p.refuses = 0, raftpb.ReasonNone
	p.boundUntil, p.clock, p.clockThen, p.clockShown = 0, clockWatch{}, 0, 0
	p.heartbeat, p.followerState = heartbeatState{}, followerState{}
	p.rounds = catchingUp{}
}

// restartProgress is for a follower that came back as a new session: nothing said to its former self moves it. What its
// incarnation had acknowledged is kept, and the new session is measured by it (checkHolding).
func (c *Core) restartProgress(p *peer) {
	p.lost = false
	p.match, p.commitSent, p.waitIndex, p.stalledAt = 0, 0, 0, 0
	p.paused, p.backlog = false, 0
	p.heartbeat.round = 0                                                             // its former self was asked
	p.clock, p.clockThen, p.clockShown = clockWatch{exceeded: p.clock.exceeded}, 0, 0 // its clock may count from its start
	c.probeFrom(p, p.next)
}

// probeFrom sends one message at a time from next on. Answers to anything sent before do not move it any more.
func (c *Core) probeFrom(p *peer, next uint64) {
	p.state = ProgressProbe
	p.next = max(1, min(next, c.log.last+1))
	p.since, p.probe, p.probeLast = c.request, 0, 0
	p.inflight.clear()
	p.inflightBytes = 0
	p.reading, p.batches, p.offer = 0, nil, nil
	c.sendDue = true
}

// needSnapshot stops sending: what the follower needs is compacted. Only what the follower says that it holds ends this state (offer.go).
func (c *Core) needSnapshot(p *peer) {
	p.state = ProgressSnapshot
	p.sent.Installs++
	p.since, p.probe = c.request, 0
	p.inflight.clear()
	p.inflightBytes = 0
	p.reading, p.batches, p.offer = 0, nil, &snapshotOffer{}
	c.offerSnapshot(p)
}

// acknowledged moves match up and frees the window.
func (p *peer) acknowledged(entry entryID) (moved bool) {
	if entry.atLeast(p.acked) {
		p.acked = entry
	}
	if entry.Index <= p.match {
		return false
	}
	p.match = entry.Index
	p.next = max(p.next, p.match+1)
	for p.inflight.len() > 0 && p.inflight.front().last <= p.match {
		p.inflightBytes -= p.inflight.front().bytes
		p.inflight.popFront()
	}
	return true
}

// windowOpen says whether another message may be sent.
func (c *Core) windowOpen(p *peer) bool {
	switch {
	case p.paused || p.lost || p.reading != 0 || c.unhealed(p):
		return false
	case p.state == ProgressProbe:
		return p.probe == 0
	case p.state == ProgressSnapshot:
		return false
	}
	return p.inflightBytes < c.options.MaxInflightBytes && p.inflight.len() < c.options.MaxInflightMessages
}

// handleReplicateResponse moves a follower's progress. A success is believed only if the leader's own log has the very
// entry (R7); a refusal only if it answers a request of the present state.
func (c *Core) handleReplicateResponse(now Instant, m *raftpb.Message, p *peer) {
	c.heard(now, p)
	if m.Request > c.request {
		c.dropped++
		return
	}
	switch m.Reason {
	case raftpb.ReasonNone:
		c.followerHolds(now, m, p)
	case raftpb.ReasonConflict:
		c.followerConflicts(m, p)
	case raftpb.ReasonBusy, raftpb.ReasonFull, raftpb.ReasonFailed:
		c.followerRefuses(m, p)
	case raftpb.ReasonDamaged:
		c.followerSawDamage(m, p)
	default:
		c.dropped++
	}
}

// answers says whether m answers the outstanding probe, or in the replicate state any message of that state.
func (p *peer) answers(m *raftpb.Message) bool {
	if p.state == ProgressProbe {
		return p.probe != 0 && m.Request == p.probe
	}
	return p.state == ProgressReplicate && m.Request > p.since
}

func (c *Core) followerHolds(now Instant, m *raftpb.Message, p *peer) {
	if !c.log.holds(m.LogIndex, m.LogTerm) {
		c.dropped++
		return
	}
	p.failures = 0
	c.noteBacklog(p, m.Backlog)
	moved := p.acknowledged(entryID{Index: m.LogIndex, Term: m.LogTerm})
	c.leaveSnapshot(p)
	if p.state == ProgressProbe && p.answers(m) {
		c.beginPipeline(p)
	}
	if moved {
		p.damage = damageNone
		c.advanceCommit(now)
		if c.role != RoleLeader { // it committed its own removal
			return
		}
		c.transferProgressed(p)
		if c.voters.witnesses {
			c.sendDurable()
		}
	}
	if p.next <= c.log.last || c.commit > p.commitSent {
		c.sendDue = true
	}
}

// beginPipeline leaves the probe state: the follower took the probe, though it may not yet have it durable.
func (c *Core) beginPipeline(p *peer) {
	p.state = ProgressReplicate
	p.since = p.probe - 1
	if p.probeLast > p.match {
		p.inflight.push(span{last: p.probeLast})
	}
	p.next = max(p.match+1, p.probeLast+1)
	p.probe, p.probeLast = 0, 0
	c.sendDue = true
}

// followerConflicts goes back to where the two logs can agree at best. Each refusal skips a whole term. A new session that
// can agree only below what was acknowledged lost it: to send it again would hide that (checkHolding).
func (c *Core) followerConflicts(m *raftpb.Message, p *peer) {
	if p.match < p.acked.Index && m.HintIndex < p.acked.Index {
		c.followerLost(p)
		return
	}
	if !p.answers(m) || m.HintIndex >= p.next {
		c.dropped++
		return
	}
	agree := c.log.terms.lastAtMost(min(m.HintIndex, c.log.last), m.HintTerm)
	c.probeFrom(p, max(agree.Index, p.match)+1) // a late refusal says nothing of what was acknowledged since
}

// followerRefuses waits for the follower's next heartbeat response. What it refused it does not have.
func (c *Core) followerRefuses(m *raftpb.Message, p *peer) {
	if !p.answers(m) {
		c.dropped++
		return
	}
	c.event(Event{Kind: EventReplicationRejected, Replica: p.id, Reason: m.Reason})
	p.failures++
	c.probeFrom(p, p.match+1)
	p.paused = true
}

// followerSawDamage reads the log store instead of memory, in case the damage is in this host's copy (R4). If it is
// refused again the follower waits for its next heartbeat response.
func (c *Core) followerSawDamage(m *raftpb.Message, p *peer) {
	if !p.answers(m) {
		c.dropped++
		return
	}
	c.event(Event{Kind: EventReplicationRejected, Replica: p.id, Reason: m.Reason})
	p.failures++
	c.probeFrom(p, p.match+1)
	p.paused = p.damage == damageReread
	p.damage = damageReported
}

// checkHolding compares the follower's durable end with what its incarnation had acknowledged. An entry acknowledged under
// this leader is never cut under it, so less means that the follower's storage lost it (R14).
//
// The answer that shows it counts for nothing any more, and neither does a later one: with the entries the follower may have lost its
// vote for another leader, and a read would be confirmed by one that has helped to depose this leader.
func (c *Core) checkHolding(m *raftpb.Message, p *peer) {
	if p.match < p.acked.Index && !(entryID{Index: m.LogIndex, Term: m.LogTerm}).atLeast(p.acked) {
		c.followerLost(p)
		c.tellLost(p)
	}
}

// creditHolding takes the follower's durable end for an acknowledgement if this log has that entry.
func (c *Core) creditHolding(now Instant, m *raftpb.Message, p *peer) {
	if p.lost || !c.log.holds(m.LogIndex, m.LogTerm) {
		return
	}
	if !p.acknowledged(entryID{Index: m.LogIndex, Term: m.LogTerm}) {
		return
	}
	c.leaveSnapshot(p) // the status that said so was lost
	c.advanceCommit(now)
	if c.role == RoleLeader && p.state == ProgressReplicate && p.inflight.len() == 0 {
		c.sendProbe(p) // it may have got from others what was lost on the way, and has to hear that this is the leader's
	}
}

// followerLost stops counting a follower whose new session has less than a former one had acknowledged.
func (c *Core) followerLost(p *peer) {
	if !p.lost {
		p.lost = true
		c.event(Event{Kind: EventAbstaining, Replica: p.id})
	}
}

// nudge asks again after a heartbeat interval without progress, with a probe: its answer tells whether the
// follower has what was sent and is slow, or never got it.
func (c *Core) nudge(now Instant, p *peer) {
	if p.next <= c.log.last {
		c.sendDue = true
	}
	if now < p.nudgeAt {
		return
	}
	waiting := p.state == ProgressProbe && p.probe != 0 || p.state == ProgressReplicate && p.inflight.len() > 0
	if waiting && p.stalledAt == p.match {
		// A window that is full and lost is not asked for where the log is compacted behind it: what follows it is a snapshot.
		if p.state == ProgressProbe || p.next <= c.log.compacted() {
			c.probeFrom(p, p.next)
		}
		c.sendProbe(p)
	}
	c.progressTimer(p)
}

// progressTimer begins a new stretch of time in which match ought to move.
func (c *Core) progressTimer(p *peer) {
	p.nudgeAt = c.now + Instant(c.options.HeartbeatInterval)/2
	p.stalledAt = p.match
}

// sendProbe asks whether the follower has the end of what was sent. It carries no entries, so that a follower which takes none at
// the moment can answer it.
func (c *Core) sendProbe(p *peer) {
	if p.lost || p.paused || c.unhealed(p) || p.next-1 < c.log.compacted() {
		return
	}
	c.request++
	m := c.message(raftpb.MessageProbe, p)
	m.LogIndex, m.LogTerm = p.next-1, c.log.terms.term(p.next-1)
	m.Commit, m.Request = c.commit, c.request
	p.commitSent = c.commit
	p.sent.Probes++
	if p.state == ProgressProbe {
		p.probe, p.probeLast = c.request, p.next-1
	}
	c.post(m)
}

// Unreachable says that the connection to a member's host was lost: what was in flight is gone, and so is the knowledge
// of what became of forwards to it (R3).
func (c *Core) Unreachable(_ Instant, replica uint64) {
	if replica == c.leader && c.role == RoleFollower {
		c.endUndecided(raftpb.ReasonNotLeader)
		c.endForwardedReads(raftpb.ReasonNotLeader)
		c.loseUnansweredChanges()
	}
	if p := c.peer(replica); p != nil && c.role == RoleLeader {
		p.heartbeat.round = 0
		c.offline(p)
		c.lostInFlight(p)
	}
}

// Refused says that the transport did not take a message to a member: its queue is full. What was sent before it is on its way,
// so the member is not given up for that; what was to follow it would leave a gap.
func (c *Core) Refused(_ Instant, replica uint64) {
	if replica == c.leader && c.role == RoleFollower {
		c.endUndecided(raftpb.ReasonNotLeader)
		c.endForwardedReads(raftpb.ReasonNotLeader)
		c.loseUnansweredChanges()
	}
	if p := c.peer(replica); p != nil && c.role == RoleLeader {
		c.lostInFlight(p)
	}
}

func (c *Core) lostInFlight(p *peer) {
	p.failures++
	if p.state == ProgressReplicate {
		c.probeFrom(p, p.match+1)
	}
}
