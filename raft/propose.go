package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// pendingState is what this host proposed and does not yet know the outcome of. Every proposal ends exactly once: by the
// hand-over of its last entry, or by one Refusal (R3).
type pendingState struct {
	proposals          deque[proposal]
	uncommitted        deque[proposal] // stamped here and above commit
	uncommittedEntries int
	forwards           []raftpb.Batch // taken from the engine, not yet sent
	forwardedBatches   int
	forwardedEntries   int
}

type proposal struct {
	sequence  uint64
	last      uint64 // 0 for a forwarded one
	entries   uint32
	forwarded bool
	sent      bool    // a forward that left this host
	at        Instant // of a forward
}

// Propose takes a sealed, unstamped batch of this host; the core owns it from now on. A leader stamps and appends it; a
// follower that knows a leader forwards it, once. Any reason but ReasonNone means that it was surely not done.
func (c *Core) Propose(now Instant, b raftpb.Batch) raftpb.Reason {
	c.now = now
	if c.witness && c.role != RoleStopped {
		return raftpb.ReasonNotVoter // nobody here would ever learn the outcome
	}
	switch c.role {
	case RoleLeader:
		if reason := c.refusesProposal(b); reason != raftpb.ReasonNone {
			return reason
		}
		c.stampProposal(b)
		if c.own(b) {
			c.pending.stamped(b)
		}
		return raftpb.ReasonNone
	case RoleFollower:
		return c.forward(b)
	case RoleStopped:
		return raftpb.ReasonStopped
	}
	return c.leaderless()
}

func (c *Core) own(b raftpb.Batch) bool {
	origin := b.Origin()
	return origin.Replica == c.options.ReplicaID && origin.Session == c.options.Session
}

// refusesProposal is asked before a leader appends.
func (c *Core) refusesProposal(b raftpb.Batch) raftpb.Reason {
	switch {
	case c.unfit():
		return raftpb.ReasonFailed
	case b.ShardID() != c.options.ShardID || b.Term() != 0 || b.Kind() == raftpb.KindMembership:
		return raftpb.ReasonDenied
	case b.ExpectedTerm() != 0 && b.ExpectedTerm() != c.term:
		return raftpb.ReasonTermMismatch
	case c.transfer.leader.active || c.leaves():
		return raftpb.ReasonTransferring
	case c.storage == StorageFull || c.quorumIsFull():
		return raftpb.ReasonFull
	case c.storage == StorageBusy:
		return raftpb.ReasonBusy
	case c.Overloaded():
		return raftpb.ReasonBusy
	case c.uncommitted > 0 && c.uncommitted+len(b) > c.options.MaxUncommittedBytes:
		return raftpb.ReasonBusy
	}
	return raftpb.ReasonNone
}

// quorumIsFull says that too few voters have room for what is not reserved (R10): a proposal would wait until its caller gives up, and
// then nobody could say what became of it.
func (c *Core) quorumIsFull() bool {
	for _, p := range c.peers {
		if p.refuses == raftpb.ReasonFull {
			return !c.quorumHas(func(p *peer) bool { return p == nil || p.refuses != raftpb.ReasonFull })
		}
	}
	return false
}

func (c *Core) stampProposal(b raftpb.Batch) {
	b.Stamp(c.term, c.log.last+1)
	c.log.append(b, 0)
	c.uncommitted += len(b)
	c.sendDue = true
}

// forward queues a batch for the leader. A batch is forwarded once, never again (R2).
func (c *Core) forward(b raftpb.Batch) raftpb.Reason {
	switch {
	case c.leader == 0 || !c.own(b):
		return c.leaderless()
	case c.unfit():
		return raftpb.ReasonFailed
	case !c.introduced():
		return raftpb.ReasonNotReady
	case b.ExpectedTerm() > c.term:
		return raftpb.ReasonNotLeader // somebody may lead that term, and has not been heard here yet
	case b.ExpectedTerm() != 0 && b.ExpectedTerm() != c.term:
		return raftpb.ReasonTermMismatch
	case b.ShardID() != c.options.ShardID || b.Term() != 0:
		return raftpb.ReasonDenied
	}
	p := &c.pending
	p.forwards = append(p.forwards, b)
	p.forwardedBatches++
	p.forwardedEntries += int(b.Count())
	p.proposals.push(proposal{sequence: b.Origin().Sequence, entries: b.Count(), forwarded: true, at: c.now})
	return raftpb.ReasonNone
}

// emitForwards sends what waits for the leader, addressed to its session and term.
func (c *Core) emitForwards(out *Output) {
	p := &c.pending
	for i, b := range p.forwards {
		m := c.toLeader(raftpb.MessagePropose)
		start := len(out.batches)
		out.batches = append(out.batches, b)
		m.Batches = out.batches[start:len(out.batches):len(out.batches)]
		m.Request = b.Origin().Sequence
		out.Messages = append(out.Messages, m)
		p.forwards[i] = nil
		for j := p.proposals.len() - 1; j >= 0; j-- {
			if q := p.proposals.at(j); q.sequence == m.Request {
				q.sent = true
				break
			}
		}
	}
	p.forwards = p.forwards[:0]
}

// handlePropose takes a forwarded batch, or refuses it. Each number of a session is decided once, whatever this replica
// is by then: a second copy of the message is ignored, for the first may have been answered either way (R2).
func (c *Core) handlePropose(_ Instant, m *raftpb.Message, p *peer) {
	if len(m.Batches) != 1 || m.Request == 0 || !c.forwardable(m) {
		c.dropped++
		return
	}
	if !p.taken.take(m.Request) {
		c.dropped++
		return
	}
	reason := raftpb.ReasonNotLeader
	if c.role == RoleLeader && m.Term == c.term {
		reason = c.refusesProposal(m.Batches[0])
	}
	if reason != raftpb.ReasonNone {
		c.answer(m, raftpb.MessageProposeResponse, reason)
		return
	}
	// The received bytes may be shared with another copy of the message; the stamp needs bytes of its own (R4).
	b := m.Batches[0].Clone()
	c.stampProposal(b)
	p.waitIndex = b.Last()
}

// forwardable checks a batch that another host built.
func (c *Core) forwardable(m *raftpb.Message) bool {
	b := m.Batches[0]
	if _, err := raftpb.ParseBatch(b); err != nil || b.Verify() != nil {
		return false
	}
	origin := b.Origin()
	return origin.Replica == m.From && origin.Session == m.FromSession && origin.Sequence == m.Request &&
		b.Flags()&raftpb.FlagBodyOmitted == 0
}

// handleProposeResponse ends a forwarded proposal that was surely not done.
func (c *Core) handleProposeResponse(_ Instant, m *raftpb.Message, _ *peer) {
	if m.From != c.leader || m.FromSession != c.leaderSession || m.Reason == raftpb.ReasonNone {
		c.dropped++
		return
	}
	q := &c.pending.proposals
	for i := range q.len() {
		if q.at(i).sequence == m.Request && q.at(i).forwarded {
			c.pending.forwardEnded(q.at(i))
			q.removeAt(i)
			c.refuse(Refusal{Kind: RefusedProposal, ID: m.Request, Reason: m.Reason})
			return
		}
	}
	c.dropped++
}

func (c *Core) refuse(r Refusal) { c.refusals = append(c.refusals, r) }

// endPending ends every proposal: nothing will be handed over any more.
func (c *Core) endPending(reason raftpb.Reason) {
	c.endUndecided(reason)
	q := &c.pending.proposals
	for ; q.len() > 0; q.popFront() {
		c.refuse(Refusal{Kind: RefusedProposal, ID: q.front().sequence, Reason: reason, MaybeApplied: true})
	}
}

// endUndecided ends every proposal whose outcome cannot be known any more. What never left this host was surely not done. What is
// committed stays, whoever leads next: its hand-over answers it.
func (c *Core) endUndecided(reason raftpb.Reason) {
	p := &c.pending
	for range p.proposals.len() {
		q := *p.proposals.front()
		p.proposals.popFront()
		if !q.forwarded && q.last <= c.commit {
			p.proposals.push(q)
			continue
		}
		c.refuse(Refusal{
			Kind: RefusedProposal, ID: q.sequence, Reason: reason, MaybeApplied: !q.forwarded || q.sent,
		})
	}
	clear(p.forwards)
	*p = pendingState{proposals: p.proposals, uncommitted: p.uncommitted, forwards: p.forwards[:0]}
	p.uncommitted.clear()
}

// forwardPatience is how many election timeouts a forward waits for its outcome when neither the leader nor the link is
// seen to go. It only has to be finite (R3): the message may have been lost without a trace.
const forwardPatience = 10

// oldestForward returns the place of the oldest forward, -1 if there is none. Before it there can only be what is committed.
func (p *pendingState) oldestForward() int {
	if p.forwardedBatches == 0 {
		return -1
	}
	for i := range p.proposals.len() {
		if p.proposals.at(i).forwarded {
			return i
		}
	}
	return -1
}

// forwardDeadline is when the oldest forward is given up.
func (c *Core) forwardDeadline() Instant {
	if i := c.pending.oldestForward(); i >= 0 {
		return c.pending.proposals.at(i).at + forwardPatience*c.electionTimeout()
	}
	return Never
}

func (c *Core) expireForwards(now Instant) {
	for now >= c.forwardDeadline() {
		i := c.pending.oldestForward()
		q := *c.pending.proposals.at(i)
		c.pending.proposals.removeAt(i)
		c.pending.forwardEnded(&q)
		c.refuse(Refusal{
			Kind: RefusedProposal, ID: q.sequence, Reason: raftpb.ReasonNotReady, MaybeApplied: true,
		})
	}
}

func (p *pendingState) stamped(b raftpb.Batch) {
	q := proposal{sequence: b.Origin().Sequence, last: b.Last(), entries: b.Count()}
	p.proposals.push(q)
	p.uncommitted.push(q)
	p.uncommittedEntries += int(q.entries)
}

// committed forgets what is committed.
func (p *pendingState) committed(index uint64) {
	for p.uncommitted.len() > 0 && p.uncommitted.front().last <= index {
		p.uncommittedEntries -= int(p.uncommitted.front().entries)
		p.uncommitted.popFront()
	}
}

func (p *pendingState) forwardEnded(q *proposal) {
	p.forwardedBatches--
	p.forwardedEntries -= int(q.entries)
}

// applied ends the proposal that b is the last piece of (R1).
func (p *pendingState) applied(b raftpb.Batch, replica, session uint64) {
	if p.proposals.len() == 0 {
		return
	}
	origin := b.Origin()
	if origin.Replica != replica || origin.Session != session || origin.Piece+b.Count() != origin.Count {
		return
	}
	for i := range p.proposals.len() {
		q := p.proposals.at(i)
		if q.sequence != origin.Sequence {
			continue
		}
		if q.forwarded {
			p.forwardEnded(q)
		}
		p.proposals.removeAt(i)
		return
	}
}
