package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// maxChangeWaits bounds the changes that callers of this host wait for.
const maxChangeWaits = 64

// changeState is what callers on this host wait for, and what was forwarded to this replica.
type changeState struct {
	waits []changeWait
	taken *[64]forwardedChange // the newest requests that were decided; a ring, nil while there was none
	next  int
}

// changeWait is a caller on this host. It waits for the answer to a forward, and then for the end of the operation.
type changeWait struct {
	id        uint64
	request   uint64  // of a forward
	operation uint64  // 0 until the leader has answered
	deadline  Instant // of a forward's answer, and of the commit of what a former leader appended
}

// forwardedChange is one request of one follower's session.
type forwardedChange struct{ session, request uint64 }

// take notes a request and says whether it is new: the network may double it, and by the time the copy arrives it may ask for
// something else than it did (R2). It is remembered across terms of leadership, and when the follower leaves and comes
// back. A change that a caller guards by IfID is safe in any case.
func (s *changeState) take(m *raftpb.Message) bool {
	key := forwardedChange{m.FromSession, m.Request}
	if s.taken == nil {
		s.taken = new([64]forwardedChange)
	}
	for i := range s.taken {
		if s.taken[i] == key {
			return false
		}
	}
	s.taken[s.next] = key
	s.next = (s.next + 1) % len(s.taken)
	return true
}

// handleChangeMembers decides a change that a follower passed on, once; whatever this replica is by then.
func (c *Core) handleChangeMembers(now Instant, m *raftpb.Message, p *peer) {
	change, err := raftpb.DecodeMembershipChange(m.Payload)
	if err != nil || m.Request == 0 || !c.changes.take(m) {
		c.dropped++
		return
	}
	c.now = now
	operation, reason := uint64(0), raftpb.ReasonNotLeader
	if c.role == RoleLeader && m.Term == c.term {
		operation, reason = c.beginChange(change)
		p.waitIndex = max(p.waitIndex, operation)
	}
	c.answer(m, raftpb.MessageChangeMembersResponse, reason).LogIndex = operation
}

// handleChangeMembersResponse takes the leader's answer.
func (c *Core) handleChangeMembersResponse(_ Instant, m *raftpb.Message, _ *peer) {
	if m.From != c.leader || m.FromSession != c.leaderSession || m.Reason == raftpb.ReasonNone && m.LogIndex == 0 {
		c.dropped++
		return
	}
	for i, wait := range c.changes.waits {
		if wait.request != m.Request || wait.operation != 0 {
			continue
		}
		if m.Reason != raftpb.ReasonNone {
			c.endChangeWait(i, m.Reason, false)
			return
		}
		c.changes.waits[i].operation, c.changes.waits[i].deadline = m.LogIndex, Never
		c.endChangeWaits(&c.committedConfig().Membership, true)
		return
	}
	c.dropped++
}

// endChangeWait refuses the i-th.
func (c *Core) endChangeWait(i int, reason raftpb.Reason, maybe bool) {
	c.refuse(Refusal{Kind: RefusedChange, ID: c.changes.waits[i].id, Reason: reason, MaybeApplied: maybe})
	c.changes.waits = append(c.changes.waits[:i], c.changes.waits[i+1:]...)
}

// endChangeWaits looks at a committed membership: the operation of a caller is done, or, if another one has begun without its
// being done, canceled. missed says that others may have been committed unseen since the operation began.
func (c *Core) endChangeWaits(m *raftpb.Membership, missed bool) {
	for i := 0; i < len(c.changes.waits); {
		wait := c.changes.waits[i]
		switch {
		case wait.operation == 0 || m.Operation < wait.operation || m.Operation == wait.operation && !finished(m):
			i++
		case m.Operation == wait.operation:
			c.changes.waits = append(c.changes.waits[:i], c.changes.waits[i+1:]...)
			done := *m
			c.event(Event{Kind: EventMembersChanged, ID: wait.id, Membership: &done})
		default:
			c.endChangeWait(i, raftpb.ReasonCanceled, missed)
		}
	}
}

// loseChangeWaits is for a leader that was lost: a caller that had its answer from it cannot be sure that the next one has what
// it appended. The exception is an operation whose last membership is in this log, as when a leader has removed itself: what
// became of that is known soon.
func (c *Core) loseChangeWaits() {
	done := finished(c.membership)
	for i := 0; i < len(c.changes.waits); {
		wait := &c.changes.waits[i]
		if done && wait.operation != 0 && wait.operation == c.membership.Operation {
			wait.deadline = min(wait.deadline, c.now+forwardPatience*c.electionTimeout())
			i++
			continue
		}
		c.endChangeWait(i, raftpb.ReasonNotLeader, true)
	}
}

// loseUnansweredChanges is for a link that was lost: what was forwarded over it may have arrived.
func (c *Core) loseUnansweredChanges() {
	for i := 0; i < len(c.changes.waits); {
		if c.changes.waits[i].operation != 0 {
			i++
			continue
		}
		c.endChangeWait(i, raftpb.ReasonNotLeader, true)
	}
}

// refuseChangeWaits ends all of them.
func (c *Core) refuseChangeWaits(reason raftpb.Reason) {
	for len(c.changes.waits) > 0 {
		c.endChangeWait(0, reason, true)
	}
}

func (s *changeState) deadline() Instant {
	deadline := Never
	for i := range s.waits {
		deadline = min(deadline, s.waits[i].deadline)
	}
	return deadline
}

// expireChangeWaits gives up what was not answered: the message may have been lost without a trace (R3).
func (c *Core) expireChangeWaits(now Instant) {
	for i := 0; i < len(c.changes.waits); {
		if now < c.changes.waits[i].deadline {
			i++
			continue
		}
		c.endChangeWait(i, raftpb.ReasonNotReady, true)
	}
}
