package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// heartbeatState is a follower's part of the heartbeats: at most one is on its way, so that a host that answers slowly is not
// sent more of them the slower it gets. What falls due meanwhile waits for the answer and then goes out at once with the newest
// round.
//
// One that is not answered is given up at the first beat of the clock that is at least half an interval later: after exactly
// one interval when it was sent on a beat itself. So nothing but the beat has to be timed, and heartbeats of all shards go
// on falling together. The beat does not depend on any answer, and cannot be lost with one.
type heartbeatState struct {
	due    bool    // one is to be sent as soon as none is on its way
	round  uint64  // of the one on its way, 0 for none
	giveUp Instant // when that one does not count any more
}

// underWay says that a heartbeat is on its way and may still be answered.
func (h *heartbeatState) underWay(now Instant) bool { return h.round != 0 && now < h.giveUp }

// answered ends the heartbeat on its way if round is its own or a later one's. An answer to one that was given up frees nothing.
func (h *heartbeatState) answered(round uint64) {
	if round >= h.round {
		h.round = 0
	}
}

// roundReady says that a round of heartbeats is to be sent: one is due by the clock, or reads wait and none is under way.
func (c *Core) roundReady() bool {
	if c.role != RoleLeader {
		return false
	}
	r := &c.reads
	return r.roundDue || r.queue.len() > r.assigned && r.confirmed >= r.round && r.queue.at(r.assigned).index != 0
}

// emitRound begins the next round. It confirms every read that has its index by now.
func (c *Core) emitRound(out *Output) {
	r := &c.reads
	r.round++
	for ; r.assigned < r.queue.len() && r.queue.at(r.assigned).index != 0; r.assigned++ {
		r.queue.at(r.assigned).round = r.round
	}
	c.beginFreshRound()
	for _, p := range c.peers {
		p.heartbeat.due = p.heartbeat.due || r.sendAll || p.votes()
	}
	r.roundDue, r.sendAll = false, false
	c.emitHeartbeats(out)
	c.confirmReads()
}

// emitHeartbeats sends to every follower that one is due for and that none is on its way to. It is sent whatever else is, and
// whatever the follower's progress: it names no entry, so that it needs none that may be compacted, and is never a reason for a
// snapshot. The commit index in it is bounded by what the follower is known to have (an answer of it proves no more, T-06).
func (c *Core) emitHeartbeats(out *Output) {
	c.heartbeatsDue = false
	for _, p := range c.peers {
		h := &p.heartbeat
		if !h.due || h.underWay(c.now) || c.unhealed(p) {
			continue
		}
		if h.round != 0 {
			p.failures++
		}
		h.due, h.round = false, c.reads.round
		h.giveUp = c.nextHeartbeat(c.now + Instant(c.options.HeartbeatInterval)/2)
		m := c.message(raftpb.MessageHeartbeat, p)
		m.Request, m.Time = c.reads.round, int64(c.now)
		m.Commit = min(c.commit, p.match)
		if p.clockShown != 0 {
			m.HintTerm, m.HintIndex = p.clockShown, c.fresh.shown
		}
		p.commitSent = max(p.commitSent, m.Commit)
		p.sent.Heartbeats++
		out.Messages = append(out.Messages, m)
	}
}

// handleHeartbeatResponse confirms the leader's authority, measures the round trip, wakes what waits for the follower and
// learns of messages that were lost.
func (c *Core) handleHeartbeatResponse(now Instant, m *raftpb.Message, p *peer) {
	if m.Request > c.reads.round {
		c.dropped++
		return
	}
	c.heard(now, p)
	c.checkHolding(m, p) // before anything that it says counts
	p.paused = p.paused && m.Reason != raftpb.ReasonNone
	p.refuses = m.Reason
	if p.votes() {
		c.roundTrip.observeEcho(now, m.Time)
	}
	c.extendLease(now, m, p)
	p.heartbeat.answered(m.Request)
	c.noteBacklog(p, m.Backlog)
	if m.Reason == raftpb.ReasonNone && p.match >= c.log.last {
		p.failures = 0 // there is nothing that it could acknowledge instead
	}
	c.heartbeatsDue = c.heartbeatsDue || p.heartbeat.due
	if m.Request > p.round {
		p.round = m.Request
		c.confirmReads()
	}
	c.creditHolding(now, m, p)
	if c.role != RoleLeader { // it committed its own removal
		return
	}
	c.probeMismatch(m, p)
	c.nudge(now, p)
	c.transferProgressed(p)
	if c.yield.outranked && c.lastResort() {
		c.offerLeadership(now)
	}
}

// probeMismatch looks again where the follower's log and the leader's part when the follower ends in an entry that this log
// does not have although everything that was sent is acknowledged.
func (c *Core) probeMismatch(m *raftpb.Message, p *peer) {
	if p.state != ProgressReplicate || p.inflight.len() > 0 || p.lost || m.LogIndex <= p.match {
		return
	}
	if !c.log.holds(m.LogIndex, m.LogTerm) {
		c.probeFrom(p, p.match+1)
	}
}
