package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// Dirty says whether Drain would produce something.
func (c *Core) Dirty() bool {
	return c.saveDue() || c.sendDue && c.role == RoleLeader || c.ackReady() || c.beatReady() || c.roundReady() || c.heartbeatsDue ||
		len(c.outbox) > 0 && c.save.stateDurable() || len(c.events) > 0 || c.clockWanted() || len(c.refusals) > 0 ||
		len(c.readsOut) > 0 || len(c.logReads) > 0 || len(c.installs) > 0 || c.compactDue() || len(c.pending.forwards) > 0 && c.save.stateDurable() || c.applyReady()
}

// Drain moves what is due into out. It may be called at any time and is cheap when nothing is.
//
// Order matters to the engine only across fields: Messages may leave at once, before Saves are durable; what must wait
// for a write is not in them yet.
func (c *Core) Drain(out *Output) {
	if c.role == RoleLeader && c.sendDue {
		c.replicate(out)
	}
	if c.roundReady() {
		c.emitRound(out)
	} else if c.heartbeatsDue {
		c.emitHeartbeats(out)
	}
	if c.ackReady() {
		c.emitAck(out)
	}
	if c.beatReady() {
		c.emitHeartbeatResponse(out)
	}
	if c.save.stateDurable() {
		c.emitForwards(out)
		out.Messages = append(out.Messages, c.outbox...)
		clear(c.outbox)
		c.outbox = c.outbox[:0]
	}
	if c.saveDue() {
		c.emitSave(out)
	}
	if c.applyReady() {
		c.handOver(out)
	}
	if c.compactDue() {
		c.emitCompaction(out)
	}
	c.emitResults(out)
	c.settleClock()
}

func (c *Core) emitResults(out *Output) {
	out.LogReads = append(out.LogReads, c.logReads...)
	out.Reads = append(out.Reads, c.readsOut...)
	out.Refusals = append(out.Refusals, c.refusals...)
	out.Events = append(out.Events, c.events...)
	out.Installs = append(out.Installs, c.installs...)
	c.installs = c.installs[:0]
	c.logReads, c.readsOut, c.refusals, c.events = c.logReads[:0], c.readsOut[:0], c.refusals[:0], c.events[:0]
}

// ackReady says that the answer owed to the leader is true by now, or true of more than the last one said.
func (c *Core) ackReady() bool {
	if !c.ack.due || c.storage.halted() || !c.save.stateDurable() {
		return false
	}
	return c.log.durable >= c.ack.match || c.log.durable > c.ack.sent
}

// emitAck speaks only of what is durable here and known to agree with this leader (R6).
func (c *Core) emitAck(out *Output) {
	index := min(c.log.durable, c.ack.match)
	c.ack.sent = max(c.ack.sent, index)
	c.ack.due = index < c.ack.match
	m := c.toLeader(raftpb.MessageReplicateResponse)
	m.Request, m.LogIndex, m.LogTerm = c.ack.request, index, c.log.terms.term(index)
	m.Backlog = uint64(c.backlog())
	out.Messages = append(out.Messages, m)
}

func (c *Core) beatReady() bool { return c.beat.due && c.save.stateDurable() }

func (c *Core) emitHeartbeatResponse(out *Output) {
	c.beat.due = false
	m := c.toLeader(raftpb.MessageHeartbeatResponse)
	m.Request, m.Time = c.beat.round, c.beat.time
	m.HintIndex, m.HintTerm = uint64(c.beat.bound), uint64(c.now)
	if c.storage != StorageOK {
		m.Reason = [...]raftpb.Reason{0, raftpb.ReasonBusy, raftpb.ReasonFull, raftpb.ReasonFailed, raftpb.ReasonFailed}[c.storage]
	}
	m.LogIndex, m.LogTerm = c.log.durable, c.log.terms.term(c.log.durable)
	m.Backlog = uint64(c.backlog())
	out.Messages = append(out.Messages, m)
}

// toLeader returns a message to the leader of the term, who may be no member of the membership known here.
func (c *Core) toLeader(t raftpb.MessageType) raftpb.Message {
	return raftpb.Message{
		Type: t, ShardID: c.options.ShardID, Term: c.term,
		From: c.options.ReplicaID, FromIncarnation: c.bootstrap.Incarnation, FromSession: c.options.Session,
		To: c.leader, ToIncarnation: c.leaderIncarnate, ToSession: c.leaderSession,
	}
}
