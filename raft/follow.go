package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// follow takes the sender as the leader of the term. It returns false when somebody else already is (R20).
func (c *Core) follow(now Instant, m *raftpb.Message) bool {
	if c.claim.replica != 0 && (c.claim.replica != m.From || c.claim.session != m.FromSession) {
		c.standDown(now, m)
		return false
	}
	if c.role != RoleFollower {
		c.becomeFollower(now, c.term)
	}
	c.setLeader(m.From, m.FromSession, m.FromIncarnation)
	c.leaderKnows = c.leaderKnows || m.ToIncarnation != 0
	c.heardAt = now
	c.electionAt = now + c.timeout
	c.yield.until = 0
	return true
}

// introduced says whether the leader takes the proposals and changes that this replica passes on. Of a member that does not vote it knows the
// incarnation only once that has answered it (introduces), and a request that overtakes the first answer is dropped as a stranger's:
// its caller would wait for nothing. The leader's messages name the incarnation from then on.
func (c *Core) introduced() bool { return c.leaderKnows || c.selfVotes() }

// standDown answers a second claim to one term: both claimants are told of the next term, which no one leads, and the
// event says that storage is broken somewhere or a frame was forged (R20).
func (c *Core) standDown(now Instant, m *raftpb.Message) {
	c.event(Event{Kind: EventSecondLeader, Leader: c.claim.replica, Replica: m.From})
	former := raftpb.Message{From: c.claim.replica, FromSession: c.claim.session, FromIncarnation: c.claim.incarnation}
	c.becomeFollower(now, c.term+1)
	c.answer(m, raftpb.MessageReplicateResponse, raftpb.ReasonNotLeader)
	if former.From == c.options.ReplicaID {
		return
	}
	former.ShardID, former.To = m.ShardID, m.To
	c.answer(&former, raftpb.MessageReplicateResponse, raftpb.ReasonNotLeader)
}

func (c *Core) refuseSecondLeader(now Instant, m *raftpb.Message, _ *peer) { c.standDown(now, m) }

// handleHeartbeat resets the election timer and takes the commit index as far as this log is known to agree with the
// leader's.
func (c *Core) handleHeartbeat(now Instant, m *raftpb.Message, _ *peer) {
	if !c.follow(now, m) {
		return
	}
	c.setCommit(now, min(m.Commit, c.ack.match))
	if m.Request >= c.beat.round || !c.beat.due {
		c.beat = heartbeatAnswer{due: true, round: m.Request, time: m.Time, bound: c.bindToLeader()}
	}
	c.toldFreshness(now, m)
}

// handleReplicate appends what is new, cuts what conflicts, and owes the leader an answer, which speaks only of what is
// durable and is sent by Drain.
func (c *Core) handleReplicate(now Instant, m *raftpb.Message, _ *peer) {
	if !c.follow(now, m) {
		return
	}
	if reason := c.refusesAppend(m); reason != raftpb.ReasonNone {
		c.busyInstalling()
		c.answer(m, raftpb.MessageReplicateResponse, reason)
		return
	}
	if c.storage == StorageFull {
		taken := *m
		taken.Batches = m.Batches[:reserved(m)] // the rest is to the leader as if it had been lost on the way
		m = &taken
	}
	if !c.agreesBefore(m) {
		return
	}
	plan, reason := c.planAppend(m)
	switch {
	case reason == raftpb.ReasonDenied: // not now, or not credible: no answer
		return
	case reason != raftpb.ReasonNone:
		c.event(Event{Kind: EventReplicationRejected, Replica: m.From, Reason: reason})
		c.answer(m, raftpb.MessageReplicateResponse, reason)
		return
	}
	c.execute(now, m, plan)
	c.ack.match = max(c.ack.match, plan.last, c.log.compacted())
	if m.Request != 0 {
		c.ack.due = true
		c.ack.request = max(c.ack.request, m.Request)
	}
	c.setCommit(now, min(m.Commit, c.ack.match))
}

// handleProbe answers whether this log holds the entry in question, as an append of nothing.
func (c *Core) handleProbe(now Instant, m *raftpb.Message, p *peer) {
	if len(m.Batches) > 0 || m.Request == 0 {
		c.dropped++
		return
	}
	c.handleReplicate(now, m, p)
}

// refusesAppend decides before anything is written whether the host's storage takes it (R9, R10, R13).
func (c *Core) refusesAppend(m *raftpb.Message) raftpb.Reason {
	switch {
	case c.storage.halted():
		return raftpb.ReasonFailed
	case c.installing:
		return raftpb.ReasonBusy
	case len(m.Batches) == 0:
		return raftpb.ReasonNone
	case c.storage == StorageBusy:
		return raftpb.ReasonBusy
	case c.storage == StorageFull && reserved(m) == 0:
		return raftpb.ReasonFull
	}
	return raftpb.ReasonNone
}

// reserved counts the batches up to the first one for which no space is kept. Among those for which it is are commands that a leader found
// uncommitted in its log when it was elected, at most MaxUncommittedBytes: they are in front of its no-op, and nobody reads through a
// leader whose no-op is not committed. What is committed already may be any amount, and waits.
func reserved(m *raftpb.Message) (n int) {
	for _, b := range m.Batches {
		inherited := len(b) >= raftpb.HeaderSize && b.Term() < m.Term && b.First() > m.Commit
		if !inherited && !spaceIsKept(b) {
			break
		}
		n++
	}
	return n
}

// spaceIsKept says that the reserve is there for what such a batch holds, whoever sends it.
func spaceIsKept(b raftpb.Batch) bool {
	return len(b) >= raftpb.HeaderSize && (b.Kind() == raftpb.KindNoOp || b.Kind() == raftpb.KindMembership)
}

// agreesBefore checks the entry in front of the batches, and answers if it differs. What is compacted was committed and
// agrees with every leader.
func (c *Core) agreesBefore(m *raftpb.Message) bool {
	if m.LogIndex < c.log.compacted() || c.log.holds(m.LogIndex, m.LogTerm) {
		return true
	}
	if m.LogIndex <= c.commit {
		c.rejectForged(m)
		return false
	}
	c.answerConflict(m, c.log.terms.lastAtMost(min(c.log.last, m.LogIndex-1), m.LogTerm))
	return false
}

func (c *Core) answerConflict(m *raftpb.Message, hint entryID) {
	answer := c.answer(m, raftpb.MessageReplicateResponse, raftpb.ReasonConflict)
	answer.HintIndex, answer.HintTerm = hint.Index, hint.Term
}

// rejectForged refuses a message that contradicts what is committed here: no leader sends it.
func (c *Core) rejectForged(m *raftpb.Message) {
	c.dropped++
	c.event(Event{Kind: EventReplicationRejected, Replica: m.From, Reason: raftpb.ReasonConflict})
}

// appendPlan is what a Replicate changes, worked out before anything is.
type appendPlan struct {
	last     uint64       // last entry that agrees with the leader once the plan is executed
	batches  int          // position of the first batch with something new
	from     uint64       // first new entry; last+1 of the message if there is none
	truncate uint64       // first index of a run to cut at, 0 for none
	kept     raftpb.Batch // the piece of that run that stays
	piece    raftpb.Batch // the new part of the first new batch, if it is not new as a whole
}

// planAppend checks every batch and finds the first new entry.
func (c *Core) planAppend(m *raftpb.Message) (appendPlan, raftpb.Reason) {
	plan := appendPlan{last: m.LogIndex, batches: len(m.Batches), from: m.LogIndex + 1}
	term := m.LogTerm
	found := false
	for i, b := range m.Batches {
		if !c.wellFormed(b, plan.last+1, term, m.Term) {
			return plan, raftpb.ReasonDamaged
		}
		term = b.Term()
		if !found {
			agree := c.agreeEnd(b)
			found = agree < b.Last()
			plan.batches, plan.from = i, agree+1
			if found && plan.from > b.First() {
				piece, err := b.Cut(plan.from, b.Last())
				if err != nil {
					return plan, raftpb.ReasonDamaged
				}
				plan.piece = piece
			}
		}
		if found && c.verify(b) != nil {
			return plan, raftpb.ReasonDamaged
		}
		plan.last = b.Last()
	}
	if !found {
		plan.batches = len(m.Batches)
		return plan, raftpb.ReasonNone
	}
	if plan.from <= c.log.last {
		return c.planTruncate(m, plan)
	}
	return plan, raftpb.ReasonNone
}

// wellFormed checks a header against its place in the message.
func (c *Core) wellFormed(b raftpb.Batch, first, least, most uint64) bool {
	if _, err := raftpb.ParseBatch(b); err != nil {
		return false
	}
	if b.Flags()&raftpb.FlagBodyOmitted != 0 && !c.takesHeaders() {
		return false
	}
	return b.ShardID() == c.options.ShardID && b.First() == first && b.Last() < maxNumber &&
		b.Term() >= max(least, 1) && b.Term() <= most
}

// verify checks a body, and that a membership is one: from the append on it is in effect.
func (c *Core) verify(b raftpb.Batch) error {
	if err := b.Verify(); err != nil {
		return err
	}
	if b.Kind() == raftpb.KindMembership {
		_, err := b.Membership()
		return err
	}
	return nil
}

// agreeEnd returns the last entry of b up to which this log already has it, First()-1 if none.
func (c *Core) agreeEnd(b raftpb.Batch) uint64 {
	compacted := c.log.compacted()
	if b.Last() <= compacted {
		return b.Last()
	}
	first := max(b.First(), compacted+1)
	if first > c.log.last {
		return c.log.last
	}
	return c.log.terms.agreeEnd(first, min(b.Last(), c.log.last), b.Term())
}

// planTruncate finds where to cut. A cut inside a batch keeps a piece of it. When that batch is not in memory, or where it
// begins is not known since the replica restarted, it is read from the log store; the leader asks again meanwhile.
func (c *Core) planTruncate(m *raftpb.Message, plan appendPlan) (appendPlan, raftpb.Reason) {
	if plan.from <= c.commit {
		c.rejectForged(m)
		return plan, raftpb.ReasonDenied
	}
	b, ok := c.batchAround(plan.from)
	if !ok {
		if c.tail.reading == 0 {
			c.tail.reading = c.readLog(0, plan.from, plan.from, c.options.MaxMessageBytes)
		}
		return plan, raftpb.ReasonDenied
	}
	plan.truncate = plan.from
	if b != nil {
		plan.truncate = b.First()
		kept, err := b.Cut(b.First(), plan.from-1)
		if err != nil {
			c.abstain()
			return plan, raftpb.ReasonDenied
		}
		plan.kept = kept
	}
	return plan, raftpb.ReasonNone
}

// tailState is the batch that a cut falls into, read from the log store.
type tailState struct {
	reading uint64
	batches []raftpb.Batch
}

// batchAround returns the batch of this log that index falls into, nil if index is the first entry of a batch.
func (c *Core) batchAround(index uint64) (raftpb.Batch, bool) {
	if i, ok := c.log.find(index); ok {
		if c.log.runs.at(i).first == index {
			return nil, true
		}
		if b, ok := c.log.bytes(i); ok {
			return b, true
		}
	}
	if len(c.tail.batches) == 0 {
		return nil, false
	}
	b := c.tail.batches[0]
	if index < b.First() || index > b.Last() || !c.log.holds(b.Last(), b.Term()) {
		return nil, false
	}
	if b.First() == index {
		return nil, true
	}
	return b, true
}

// execute changes the log as planned.
func (c *Core) execute(now Instant, m *raftpb.Message, plan appendPlan) {
	if plan.truncate != 0 {
		c.truncate(plan)
	}
	for i := plan.batches; i < len(m.Batches); i++ {
		b, chunk := m.Batches[i], m.Chunk
		if b.First() < plan.from {
			b, chunk = plan.piece, 0
		}
		if c.witness && b.Kind() != raftpb.KindMembership && b.Flags()&raftpb.FlagBodyOmitted == 0 {
			b, chunk = b.WithoutBody(), 0 // of a leader that does not know yet what this is
		}
		c.log.append(b, chunk)
		if b.Kind() == raftpb.KindMembership {
			if membership, err := b.Membership(); err == nil {
				c.addConfig(now, membership)
			}
		}
	}
}

// truncate cuts the log before plan.from. The store removes whole batches, so the kept piece of a cut one is written
// again, in the same write: its entries are durable all the while if they were before. The durable index, and what the
// writes under way will make durable, fall at once (R6).
func (c *Core) truncate(plan appendPlan) {
	durable := min(c.log.durable, plan.from-1)
	c.log.truncate(plan.truncate)
	c.apply.uncounted = min(c.apply.uncounted, plan.from-1)
	c.save.truncate(plan.truncate, plan.from)
	c.undoConfigs(plan.truncate)
	c.apply.batches, c.tail.batches = nil, nil
	c.ack.match = min(c.ack.match, plan.from-1)
	if plan.kept != nil {
		c.log.append(plan.kept, 0)
		c.log.durable = durable
		if last := plan.kept.Last(); last <= c.commit && last > c.apply.uncounted {
			c.committedToApply(len(plan.kept)) // it was committed as a part of a batch that was not
		}
	}
}
