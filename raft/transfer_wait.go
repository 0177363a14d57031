package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// transferWaiter is a caller on this host who waits for a transfer, on whichever replica: one at a time.
type transferWaiter struct {
	id, target uint64
	from, term uint64 // the leader at the time of the request, 0 if that was the target already, and its term
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

// transferSettled ends the wait when a leader of a later term is known: well when it is the one that was asked for, and has
// committed an entry of its term. Before that it may lose the term without having done anything.
func (c *Core) transferSettled() {
	w := c.transfer.waiter
	if !c.transfer.waits || c.leader == 0 || c.leader == w.from && c.term == w.term {
		return
	}
	switch {
	case c.leader == w.from:
		c.endTransferWait(raftpb.ReasonFailed, false)
	case w.target != 0 && c.leader != w.target:
		c.endTransferWait(raftpb.ReasonNotLeader, false)
	case c.commit != 0 && c.log.terms.term(c.commit) == c.term:
		c.transfer.waits = false
		c.event(Event{Kind: EventTransferDone, Leader: c.leader, ID: w.id})
	}
}

func (c *Core) endTransferWait(reason raftpb.Reason, maybe bool) {
	if !c.transfer.waits {
		return
	}
	c.transfer.waits = false
	c.refuse(Refusal{Kind: RefusedTransfer, ID: c.transfer.waiter.id, Reason: reason, MaybeApplied: maybe})
}

func (c *Core) handleTransferResponse(_ Instant, m *raftpb.Message, _ *peer) {
	if !c.transfer.waits || m.From != c.leader || m.Request != c.transfer.waiter.id || m.Reason == raftpb.ReasonNone {
		c.dropped++
		return
	}
	c.endTransferWait(m.Reason, m.Reason == raftpb.ReasonFailed)
}

// leaderLeavesTransfer ends the leader's part with its leadership. If the target was told to campaign the wait goes on: that may
// be how the leadership ended.
func (c *Core) leaderLeavesTransfer() {
	t := c.transfer.leader
	c.transfer.leader = leaderTransfer{}
	if t.active && !t.told && t.replica == 0 {
		c.endTransferWait(raftpb.ReasonNotLeader, false)
	}
}
