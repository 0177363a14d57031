package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// transferState has two parts that never mix: what the leader does, and what a caller on this host waits for
// (transfer_wait.go). The latter outlives the leader's term here, since only the next leader's commit tells whether it succeeded.
type transferState struct {
	leader  leaderTransfer
	elected bool // this replica campaigned last because it was told to
	waits   bool
	waiter  transferWaiter
	taken   forwardedTransfers
}

// leaderTransfer is a hand-over by this leader (thesis 3.10). Proposals are refused meanwhile, so the target catches up.
type leaderTransfer struct {
	active    bool
	any       bool // whoever is best; one that declines is followed by the next best
	told      bool // TimeoutNow was sent
	toldRound uint64
	target    uint64
	replica   uint64 // follower that asked, 0 for this host
	request   uint64
	deadline  Instant
}

// TransferLeader hands leadership to target, or to the best voter if target is 0: of those that were heard within an election
// timeout and are being sent entries the one with the highest priority, and of equal ones the one that has most of the
// log. Before anybody has answered a new leader that may be one who is silent: then whoever answers takes its place. A follower
// passes the request on. ReasonNone means that it ends within two election timeouts under id: with
// EventTransferDone when the target has committed an entry in its term, which is known here; or with a Refusal:
//
//	ReasonNotMember     there is no such replica
//	ReasonNotVoter      the target is a learner or a witness, and cannot lead
//	ReasonBehind        the target did not have the whole log within an election timeout; the leader goes on
//	ReasonFailed        the target is not heard, cannot campaign, or did not win; no voter can take over, if target is 0
//	ReasonNotLeader     there is no leader, or another replica came to lead
//	ReasonTransferring  another transfer is under way
//	ReasonNotReady      nothing is known after two election timeouts; or, at once, the leader does not know this member yet
//
// MaybeApplied of the Refusal says that the target was told to campaign and may yet win.
func (c *Core) TransferLeader(now Instant, id, target uint64) raftpb.Reason {
	c.now = now
	switch {
	case c.role == RoleStopped:
		return raftpb.ReasonStopped
	case c.leader == 0:
		return c.leaderless()
	case c.transfer.waits:
		return raftpb.ReasonTransferring
	case target != c.leader && c.role != RoleLeader && !c.introduced():
		return raftpb.ReasonNotReady
	}
	w := transferWaiter{id: id, target: target, from: c.leader, term: c.term, deadline: now + 2*c.electionTimeout()}
	switch {
	case target == c.leader:
		w.from = 0 // it leads already; it may still have to commit
	case c.role == RoleLeader:
		if reason := c.beginTransfer(now, leaderTransfer{target: target, request: id}); reason != raftpb.ReasonNone {
			return reason
		}
	default:
		m := c.toLeader(raftpb.MessageTransferLeader)
		m.HintIndex, m.Request = target, id
		c.post(m)
	}
	c.transfer.waits, c.transfer.waiter = true, w
	c.transferSettled()
	return raftpb.ReasonNone
}

// beginTransfer begins a hand-over by this leader. A second one is refused, and does not move the deadline of the first.
func (c *Core) beginTransfer(now Instant, t leaderTransfer) raftpb.Reason {
	if c.transfer.leader.active {
		return raftpb.ReasonTransferring
	}
	p, reason := c.heir(now, t.target)
	if reason != raftpb.ReasonNone {
		return reason
	}
	t.active, t.any, t.deadline = true, t.target == 0, now+c.electionTimeout()
	t.target = p.id
	c.transfer.leader = t
	c.transferProgressed(p)
	return raftpb.ReasonNone
}

// heir returns the replica to hand over to, the best one if target is 0, or why there is none. One that is not heard would
// only make the callers wait.
func (c *Core) heir(now Instant, target uint64) (*peer, raftpb.Reason) {
	if target == 0 {
		if p := c.bestVoter(now, false); p != nil {
			return p, raftpb.ReasonNone
		}
		return nil, raftpb.ReasonFailed
	}
	p := c.peer(target)
	switch {
	case p == nil:
		return nil, raftpb.ReasonNotMember
	case p.kind != raftpb.Voter:
		return nil, raftpb.ReasonNotVoter
	case p.lost || p.lastContact+c.electionTimeout() <= now:
		return nil, raftpb.ReasonFailed
	}
	return p, raftpb.ReasonNone
}

// bestVoter is the voter that is to lead next, nil if none can: heard within an election timeout, healthy, not one that has
// declined lately, and, if complete, one that holds the whole log. Hosts with room on their disks go first (R10), then those that
// are sent entries before those whose log is still searched for, then counts the priority, then the match.
func (c *Core) bestVoter(now Instant, complete bool) *peer {
	var best *peer
	for _, p := range c.peers {
		switch {
		case p.kind != raftpb.Voter || p.lost || p.paused || p.lastContact+c.electionTimeout() <= now:
		case p.refuses == raftpb.ReasonFailed || c.storage == StorageFull && p.refuses == raftpb.ReasonFull:
		case p.declinedAt != 0 && now < p.declinedAt+c.electionTimeout():
		case complete && p.match != c.log.last:
		case best == nil || c.betterHeir(p, best):
			best = p
		}
	}
	return best
}

func (c *Core) betterHeir(p, than *peer) bool {
	if a, b := p.refuses == raftpb.ReasonFull, than.refuses == raftpb.ReasonFull; a != b {
		return b
	}
	if a, b := p.state == ProgressReplicate, than.state == ProgressReplicate; a != b {
		return a
	}
	if a, b := c.rank(p.id), c.rank(than.id); a != b {
		return a > b
	}
	return p.match > than.match
}

// rank is the priority of a member, that of PriorityDefault for a replica that is none.
func (c *Core) rank(id uint64) int {
	if member := memberOf(c.membership, id); member != nil {
		return member.Priority.Rank()
	}
	return raftpb.PriorityDefault.Rank()
}

// transferProgressed tells the target to campaign once it has everything, and again when it answered a heartbeat that was sent
// after that: it would not have, had it got the message and begun a term of its own.
func (c *Core) transferProgressed(p *peer) {
	t := &c.transfer.leader
	if t.active && t.any && !t.told && p.id != t.target {
		c.passSilentHeir()
	}
	if !t.active || p.id != t.target || p.match != c.log.last || t.told && p.round <= t.toldRound {
		return
	}
	t.told, t.toldRound = true, c.reads.round
	c.tellTimeoutNow(p)
}

// passSilentHeir lets who has answered take the place of a target that was chosen before anybody had: right behind an election all count as heard, also
// who has been silent for long. To wait for the first answer would delay those hand-overs, and to refuse them would fail a host that is closed then.
func (c *Core) passSilentHeir() {
	t := &c.transfer.leader
	if target := c.peer(t.target); target != nil && c.heardLately(target) {
		return
	}
	if next := c.bestVoter(c.now, false); next != nil && c.heardLately(next) {
		t.target = next.id
	}
}

// tellTimeoutNow lets p campaign at once, with votes that are not sticky: the lease ends before (T-28).
func (c *Core) tellTimeoutNow(p *peer) {
	c.endLease()
	c.post(c.message(raftpb.MessageTimeoutNow, p))
}

// tellHeir tells the best voter that has everything to campaign at once, and returns it, 0 if there is none.
func (c *Core) tellHeir(now Instant) (heir uint64) {
	p := c.bestVoter(now, true)
	if p == nil {
		return 0
	}
	c.tellTimeoutNow(p)
	return p.id
}

// expireTransfer gives up: the leader takes proposals again, and callers learn what is known.
func (c *Core) expireTransfer(now Instant) {
	if t := c.transfer.leader; t.active && now >= t.deadline {
		reason := raftpb.ReasonBehind
		if t.told {
			reason = raftpb.ReasonFailed
		}
		c.abortTransfer(reason)
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

// checkTransferTarget aborts a hand-over to a replica that the new membership does not let lead.
func (c *Core) checkTransferTarget() {
	t := c.transfer.leader
	if !t.active {
		return
	}
	switch p := c.peer(t.target); {
	case p == nil:
		c.abortTransfer(raftpb.ReasonNotMember)
	case p.kind != raftpb.Voter:
		c.abortTransfer(raftpb.ReasonNotVoter)
	}
}

// handleTimeoutNow campaigns at once, if it comes from the leader of this term: no pre-vote, and votes are not sticky. A replica
// that cannot campaign says so, for the leader to go on or to try another.
func (c *Core) handleTimeoutNow(now Instant, m *raftpb.Message, _ *peer) {
	switch {
	case m.From != c.leader || m.FromSession != c.leaderSession:
		c.dropped++
	case m.Reason == raftpb.ReasonStopped:
		c.leaderLeaves(now)
	case !c.electable():
		c.answer(m, raftpb.MessageTransferLeaderResponse, raftpb.ReasonFailed)
	default:
		c.campaign(now, true)
	}
}

// handleDeclined is the target's answer that it cannot campaign. A leader that hands over to whoever is best asks the next.
func (c *Core) handleDeclined(now Instant, m *raftpb.Message, p *peer) {
	t := &c.transfer.leader
	if p == nil || !t.active || !t.told || t.target != p.id || m.Reason == raftpb.ReasonNone {
		c.dropped++
		return
	}
	p.declinedAt = now
	if t.any {
		if next := c.bestVoter(now, false); next != nil {
			t.target, t.told = next.id, false
			c.transferProgressed(next)
			return
		}
	}
	t.told = false // it did not campaign, and will not
	c.abortTransfer(raftpb.ReasonFailed)
}
