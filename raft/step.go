package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// maxNumber bounds terms and indexes from outside, so that adding to one never wraps.
const maxNumber = 1 << 62

// Step takes a message from a peer. No message, whatever its fields, makes it panic: what is not credible is counted and
// dropped. Of m it keeps nothing beyond the call but the bytes of batches.
func (c *Core) Step(now Instant, m *raftpb.Message) {
	c.now = now
	if c.addressed(m) && c.strayed(m) {
		c.sayRemovedToStranger(m)
		return
	}
	if !c.addressed(m) || !c.credible(m) {
		c.dropped++
		c.sayRemovedToStranger(m)
		return
	}
	p, current := c.sender(m)
	if !current {
		c.dropped++
		return
	}
	if c.role < RoleBootstrapping && !c.termGate(now, m, p) {
		return
	}
	h := handlers[c.role][m.Type]
	if h == nil {
		if c.ignored == nil {
			c.ignored = new([raftpb.MessageTypeCount]uint64)
		}
		c.ignored[m.Type]++
		c.event(Event{Kind: EventIgnored, Replica: m.From, ID: uint64(m.Type)})
		return
	}
	if p == nil && memberOnly[m.Type] && !c.asksEarly(m) {
		c.dropped++
		return
	}
	h(c, now, m, p)
	if c.changing {
		c.continueChange(now)
	}
}

// asksEarly says that m is a read of a member whose incarnation is not known yet: it has heard of this leader, and its first answer waits for its
// disk, or came after. What it is told, an index, is true whoever hears it.
func (c *Core) asksEarly(m *raftpb.Message) bool {
	if m.Type != raftpb.MessageReadIndex {
		return false
	}
	p := c.peer(m.From)
	return p != nil && p.incarnation == 0
}

// addressed says that a message is for this replica, and that its fields are possible.
func (c *Core) addressed(m *raftpb.Message) bool {
	switch {
	case m.Type == 0 || m.Type >= raftpb.MessageTypeCount:
		return false
	case m.ShardID != c.options.ShardID || m.To != c.options.ReplicaID:
		return false
	case m.From == 0 || m.From == m.To || m.FromSession == 0 || m.FromIncarnation == 0:
		return false
	case m.Term >= maxNumber || m.LogIndex >= maxNumber || m.Request >= maxNumber:
		return false
	}
	return m.Term != 0 || termless[m.Type]
}

// credible checks what a message takes its receiver for. Answers and forwards count only in the session that they were meant for; requests of a
// leader or candidate that has not noticed a restart are taken, and the answer tells it of the new session.
func (c *Core) credible(m *raftpb.Message) bool {
	if m.ToIncarnation != 0 && m.ToIncarnation != c.bootstrap.Incarnation {
		return false
	}
	return !sessionBound[m.Type] || m.ToSession == c.options.Session
}

// termGate is the one place where terms of messages are compared. It returns whether the handler is to run: then the
// message's term is the core's own, but for pre-votes and for forwards, which are decided once in whatever term.
func (c *Core) termGate(now Instant, m *raftpb.Message, p *peer) bool {
	if termless[m.Type] || m.Term == c.term {
		return true
	}
	if m.Term < c.term {
		return c.answerLowerTerm(m, p)
	}
	switch m.Type {
	case raftpb.MessagePreVote:
		return true
	case raftpb.MessagePreVoteResponse:
		if m.Reason == raftpb.ReasonNone {
			return true
		}
	case raftpb.MessageVote:
		if !m.Transfer && c.leaderAlive(now) {
			if !c.sayRemoved(m, p) { // without pre-vote it would ask in ever higher terms and never hear of it
				c.dropped++
			}
			return false
		}
	}
	c.becomeFollower(now, m.Term)
	return true
}

// leaderAlive says that votes are sticky: a leader was heard within the election timeout, so a candidate is either cut off
// or removed (thesis 4.2.3, 6.2). Until a promise to a leader is over that does not depend on options (lease.go).
func (c *Core) leaderAlive(now Instant) bool {
	if c.bound(now) {
		return true
	}
	if c.options.DisableCheckQuorum {
		return false
	}
	return c.role == RoleLeader || c.leader != 0 && now < c.heardAt+c.electionTimeout()
}

// answerLowerTerm tells a replica that is behind of the current term, and returns whether the handler runs nevertheless.
func (c *Core) answerLowerTerm(m *raftpb.Message, p *peer) bool {
	switch m.Type {
	case raftpb.MessagePropose, raftpb.MessageChangeMembers:
		return true
	case raftpb.MessagePreVote:
		if !c.sayRemoved(m, p) { // or it would ask once more in the term that it was told, and find others meanwhile
			c.answer(m, raftpb.MessagePreVoteResponse, raftpb.ReasonDenied)
		}
	case raftpb.MessageVote:
		if !c.sayRemoved(m, p) {
			c.answer(m, raftpb.MessageVoteResponse, raftpb.ReasonDenied)
		}
	case raftpb.MessageReplicate, raftpb.MessageProbe:
		c.answer(m, raftpb.MessageReplicateResponse, raftpb.ReasonNotLeader)
	case raftpb.MessageHeartbeat:
		c.answer(m, raftpb.MessageHeartbeatResponse, raftpb.ReasonNotLeader)
	case raftpb.MessageReadIndex:
		c.answer(m, raftpb.MessageReadIndexResponse, raftpb.ReasonNotLeader)
	case raftpb.MessageTransferLeader:
		c.answer(m, raftpb.MessageTransferLeaderResponse, raftpb.ReasonNotLeader)
	default:
		c.dropped++
	}
	return false
}

// answer queues a reply in the current term with the request number echoed, and returns it for further fields.
func (c *Core) answer(m *raftpb.Message, t raftpb.MessageType, reason raftpb.Reason) *raftpb.Message {
	c.outbox = append(c.outbox, raftpb.Message{
		Type: t, Reason: reason, ShardID: m.ShardID, Term: c.term, Request: m.Request,
		From: m.To, FromIncarnation: c.bootstrap.Incarnation, FromSession: c.options.Session,
		To: m.From, ToIncarnation: m.FromIncarnation, ToSession: m.FromSession,
	})
	return &c.outbox[len(c.outbox)-1]
}

// message returns a message to a member with its addressing filled in.
func (c *Core) message(t raftpb.MessageType, p *peer) raftpb.Message {
	return raftpb.Message{
		Type: t, ShardID: c.options.ShardID, Term: c.term,
		From: c.options.ReplicaID, FromIncarnation: c.bootstrap.Incarnation, FromSession: c.options.Session,
		To: p.id, ToIncarnation: p.incarnation, ToSession: p.session,
	}
}

// post queues a message that Drain sends once (term, vote) is durable.
func (c *Core) post(m raftpb.Message) { c.outbox = append(c.outbox, m) }
