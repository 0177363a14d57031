package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// SetStorage tells the core what the host's log store can take. StorageFailed is a latch (R9), StorageStalled means the
// same for as long as it lasts: leadership is offered once to a caught-up voter and given up after an election timeout,
// nothing is voted for or acknowledged. A leader on a full disk offers its leadership too, but keeps it if nobody takes
// it (R10).
func (c *Core) SetStorage(now Instant, s StorageState) {
	c.now = now
	if c.storage == StorageFailed || s == c.storage || s > StorageStalled {
		return
	}
	unfit := c.unfit()
	c.storage = s
	if s.halted() {
		c.unsayPromises()
	}
	switch {
	case s == StorageFull && c.role == RoleLeader:
		_ = c.beginTransfer(now, leaderTransfer{})
	case s.halted() && !unfit:
		c.giveUpLeadership(now)
	}
}

// unsayPromises takes back what waits to be sent and would ask for votes or give one: its write may be durable, but after a failure
// nothing of the kind is said any more (R9).
func (c *Core) unsayPromises() {
	kept := c.outbox[:0]
	for i := range c.outbox {
		switch m := &c.outbox[i]; m.Type {
		case raftpb.MessageVote, raftpb.MessagePreVote:
		case raftpb.MessageVoteResponse, raftpb.MessagePreVoteResponse:
			if m.Reason != raftpb.ReasonNone {
				kept = append(kept, *m)
			}
		default:
			kept = append(kept, *m)
		}
	}
	clear(c.outbox[len(kept):])
	c.outbox = kept
}

// Quarantine says that the state machine failed: the replica goes on voting and acknowledging, since those promises do
// not depend on it, but does not lead, campaign, read or apply (R24).
func (c *Core) Quarantine(now Instant) {
	c.now = now
	if c.quarantined || c.role == RoleStopped {
		return
	}
	unfit := c.unfit()
	c.quarantined = true
	c.apply.batches, c.apply.waiting = nil, 0
	c.refuseQueuedReads(raftpb.ReasonFailed)
	c.endForwardedReads(raftpb.ReasonFailed)
	c.endPending(raftpb.ReasonFailed)
	c.unpin()
	if !unfit {
		c.giveUpLeadership(now)
	}
}

// giveUpLeadership is for a replica that became unfit: it offers leadership to the best voter and has an election timeout
// until checkQuorum ends it. That puts the check off, so it is made here too: a log store that stalls again and again must
// not keep a leader that nobody hears.
func (c *Core) giveUpLeadership(now Instant) {
	switch c.role {
	case RoleLeader:
		if !c.options.DisableCheckQuorum && !c.heardByQuorum(now) {
			c.becomeFollower(now, c.term)
			return
		}
		c.checkAt = now + c.electionTimeout()
		_ = c.beginTransfer(now, leaderTransfer{})
	case RolePreCandidate, RoleCandidate:
		c.becomeFollower(now, c.term)
	}
}

// Stop ends everything: what is pending is refused, the voters are told that their leader is gone, and after the next Drain
// the core says nothing any more. Who wants the shard to go on without a pause hands leadership over first: TransferLeader.
func (c *Core) Stop(now Instant) {
	c.now = now
	if c.role == RoleStopped {
		return
	}
	if c.role == RoleLeader {
		c.sayFarewell(now)
	}
	c.refuseQueuedReads(raftpb.ReasonStopped)
	c.endForwardedReads(raftpb.ReasonStopped)
	c.endPending(raftpb.ReasonStopped)
	c.endTransferWait(raftpb.ReasonStopped, true)
	c.refuseChangeWaits(raftpb.ReasonStopped)
	c.leaveRole()
	c.role = RoleStopped
	c.pull, c.installing = pullState{}, false
	c.ack.due, c.beat.due = false, false
	c.electionAt, c.heartbeatAt, c.checkAt, c.retryAt = Never, Never, Never, Never
}
