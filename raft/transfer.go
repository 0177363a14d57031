package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// transferState has two parts that never mix: what the leader does, and what a caller on this host waits for. The latter
// outlives the leader's term here, since only the next leader's name tells whether it succeeded.
type transferState struct {
	leader leaderTransfer
	waits  bool
	waiter transferWaiter
}

// leaderTransfer is a hand-over by this leader (thesis 3.10). Proposals are refused meanwhile, so the target catches up.
type leaderTransfer struct {
	active   bool
	told     bool // TimeoutNow was sent
	target   uint64
	replica  uint64 // follower that asked, 0 for this host
	request  uint64
	deadline Instant
}

type transferWaiter struct {
	id, target uint64
	from       uint64 // leader at the time of the request
	deadline   Instant
}

func (t *transferState) active() bool { return t.leader.active || t.waits }

func (t *transferState) deadline() Instant {
	deadline := Never
	if t.leader.active {
		deadline = t.leader.deadline
	}
	if t.waits {
		deadline = min(deadline, t.waiter.deadline)
	}
	return deadline
}

// TransferLeader hands leadership to target, or to the voter that is caught up best if target is 0. A follower passes it
// on. It ends with EventTransferDone or a Refusal under id, within two election timeouts.
func (c *Core) TransferLeader(now Instant, id, target uint64) raftpb.Reason {
	c.now = now
	switch {
	case c.role == RoleStopped:
		return raftpb.ReasonStopped
	case c.leader == 0:
		return raftpb.ReasonNotLeader
	case c.transfer.waits:
		return raftpb.ReasonTransferring
	case target == c.leader:
		c.event(Event{Kind: EventTransferDone, Leader: c.leader, ID: id})
		return raftpb.ReasonNone
	}
	if c.role == RoleLeader {
		if reason := c.beginTransfer(now, leaderTransfer{target: target, request: id}); reason != raftpb.ReasonNone {
			return reason
		}
	} else {
		m := c.toLeader(raftpb.MessageTransferLeader)
		m.HintIndex, m.Request = target, id
		c.post(m)
	}
	c.transfer.waits = true
	c.transfer.waiter = transferWaiter{id: id, target: target, from: c.leader, deadline: now + 2*c.electionTimeout()}
	return raftpb.ReasonNone
}

func (c *Core) beginTransfer(now Instant, t leaderTransfer) raftpb.Reason {
	if c.transfer.leader.active {
		return raftpb.ReasonTransferring
	}
	if t.target == 0 {
		t.target = c.bestVoter(now)
	}
	p := c.peer(t.target)
	if p == nil || p.kind != raftpb.Voter {
		return raftpb.ReasonNotMember
	}
	t.active, t.deadline = true, now+c.electionTimeout()
	c.transfer.leader = t
	c.transferProgressed(now, p)
	return raftpb.ReasonNone
}

// bestVoter is the voter with the highest match among those heard within an election timeout, 0 if there is none.
func (c *Core) bestVoter(now Instant) uint64 {
	var best *peer
	for _, p := range c.peers {
		if p.kind != raftpb.Voter || p.lost || p.paused || p.lastContact+c.electionTimeout() <= now {
			continue
		}
		if best == nil || p.match > best.match {
			best = p
		}
	}
	if best == nil {
		return 0
	}
	return best.id
}

// transferProgressed tells the target to campaign once it has everything.
func (c *Core) transferProgressed(_ Instant, p *peer) {
	t := &c.transfer.leader
	if !t.active || t.told || p.id != t.target || p.match != c.log.last {
		return
	}
	t.told = true
	m := c.message(raftpb.MessageTimeoutNow, p)
	m.Commit = c.commit
	c.post(m)
}

// expireTransfer gives up: the leader takes proposals again, and callers learn that nothing is known.
func (c *Core) expireTransfer(now Instant) {
	if t := c.transfer.leader; t.active && now >= t.deadline {
		c.abortTransfer(raftpb.ReasonNotReady)
	}
	if w := c.transfer.waiter; c.transfer.waits && now >= w.deadline {
		c.endTransferWait(raftpb.ReasonNotReady, true)
	}
}

// abortTransfer ends the leader's part and answers whoever asked.
func (c *Core) abortTransfer(reason raftpb.Reason) {
	t := c.transfer.leader
	c.transfer.leader = leaderTransfer{}
	if t.replica == 0 {
		c.endTransferWait(reason, t.told)
		return
	}
	if p := c.peer(t.replica); p != nil {
		m := c.message(raftpb.MessageTransferLeaderResponse, p)
		m.Request, m.Reason = t.request, reason
		c.post(m)
	}
}

func (c *Core) endTransferWait(reason raftpb.Reason, maybe bool) {
	if !c.transfer.waits {
		return
	}
	c.transfer.waits = false
	c.refuse(Refusal{Kind: RefusedTransfer, ID: c.transfer.waiter.id, Reason: reason, MaybeApplied: maybe})
}

// transferLeaderChanged ends the wait when the next leader is known.
func (c *Core) transferLeaderChanged() {
	w := c.transfer.waiter
	if !c.transfer.waits || c.leader == 0 || c.leader == w.from && w.target != c.leader {
		return
	}
	if w.target != 0 && c.leader != w.target {
		c.endTransferWait(raftpb.ReasonNotLeader, false)
		return
	}
	c.transfer.waits = false
	c.event(Event{Kind: EventTransferDone, Leader: c.leader, ID: w.id})
}

func (c *Core) handleTransferLeader(now Instant, m *raftpb.Message, p *peer) {
	t := leaderTransfer{target: m.HintIndex, replica: p.id, request: m.Request}
	if t.target == c.options.ReplicaID {
		return // it leads already, and the follower sees that
	}
	if reason := c.beginTransfer(now, t); reason != raftpb.ReasonNone {
		c.answer(m, raftpb.MessageTransferLeaderResponse, reason)
	}
}

func (c *Core) refuseTransfer(_ Instant, m *raftpb.Message, _ *peer) {
	c.answer(m, raftpb.MessageTransferLeaderResponse, raftpb.ReasonNotLeader)
}

func (c *Core) handleTransferResponse(_ Instant, m *raftpb.Message, _ *peer) {
	if !c.transfer.waits || m.From != c.leader || m.Request != c.transfer.waiter.id || m.Reason == raftpb.ReasonNone {
		c.dropped++
		return
	}
	c.endTransferWait(m.Reason, false)
}

// handleTimeoutNow campaigns at once, if it comes from the leader of this term: no pre-vote, and votes are not sticky.
func (c *Core) handleTimeoutNow(now Instant, m *raftpb.Message, _ *peer) {
	if m.From != c.leader || m.FromSession != c.leaderSession || !c.electable() {
		c.dropped++
		return
	}
	if m.Reason == raftpb.ReasonStopped {
		c.leaderLeaves(now)
		return
	}
	c.campaign(now, true)
}
