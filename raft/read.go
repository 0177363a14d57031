package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// maxReads bounds the batches of reads that wait at one replica; above it more are refused as busy.
const maxReads = 1024

// readState is ReadIndex (thesis 6.4). Reads that arrive while a round of heartbeats is under way join the next one, so
// one quorum round confirms all of them, and never one that was sent before they arrived (R22).
type readState struct {
	queue     deque[read]          // leader's, in order of arrival; rounds ascend
	forwarded deque[forwardedRead] // follower's
	deadline  Instant              // of the oldest in queue or forwarded
	round     uint64               // number of the last round sent, over all terms of the session
	roundDue  bool
	sendAll   bool   // the next round is a heartbeat to everybody, not only to voters
	confirmed uint64 // highest round that a majority answered
	assigned  int    // reads in queue that have a round
}

type read struct {
	id      uint64 // this host's, or the follower's request
	replica uint64 // 0 for this host
	session uint64
	index   uint64 // commit when it arrived, or when the term's first entry was committed
	round   uint64 // 0 until one is sent for it
	at      Instant
	lease   bool // served under a lease
}

type forwardedRead struct {
	id uint64
	at Instant
}

func (r *readState) any() bool { return r.queue.len() > 0 || r.forwarded.len() > 0 }

// ReadIndex asks for the index at which the reads of one batch are linearizable. The answer is a ReadState or a Refusal
// under id; ReasonNotReady says that nothing was heard within an election timeout, and that asking again, under another id, may well
// help. IDs ascend.
func (c *Core) ReadIndex(now Instant, id uint64) raftpb.Reason {
	c.now = now
	switch {
	case c.role == RoleStopped:
		return raftpb.ReasonStopped
	case c.witness:
		return raftpb.ReasonNotVoter
	case c.unfit():
		return raftpb.ReasonFailed
	case c.leader == 0 || c.role != RoleLeader && c.role != RoleFollower:
		return c.leaderless()
	case c.reads.queue.len()+c.reads.forwarded.len() >= maxReads:
		return raftpb.ReasonBusy
	case c.role == RoleLeader:
		c.queueRead(now, read{id: id, at: now})
		return raftpb.ReasonNone
	}
	c.startReadTimer(now)
	c.reads.forwarded.push(forwardedRead{id: id, at: now})
	m := c.toLeader(raftpb.MessageReadIndex)
	m.Request = id
	c.post(m)
	return raftpb.ReasonNone
}

func (c *Core) startReadTimer(now Instant) {
	if !c.reads.any() {
		c.reads.deadline = now + c.electionTimeout()
	}
}

// queueRead notes the commit index now, if an entry of this term is committed, and waits for a round sent after this, or, under a
// lease, for the next reading of the clock.
func (c *Core) queueRead(now Instant, r read) {
	if c.queueLeaseRead(now, r) {
		return
	}
	r.index = c.readableIndex()
	c.awaitRound(now, r)
}

// awaitRound queues a read for a round that is still to be sent.
func (c *Core) awaitRound(now Instant, r read) {
	c.startReadTimer(now)
	c.reads.queue.push(r)
	c.confirmReads()
}

// readableIndex is the commit index once it covers an entry of this leader's term; before that the leader cannot know
// what its predecessors committed (thesis 6.4), and it is 0.
func (c *Core) readableIndex() uint64 {
	if c.commit < c.termStart {
		return 0
	}
	return c.commit
}

// readsBecameReady gives an index to the reads that waited for the first commit of the term.
func (c *Core) readsBecameReady() {
	q := &c.reads.queue
	if q.len() == 0 || q.front().index != 0 {
		return
	}
	for i := range q.len() {
		q.at(i).index = max(q.at(i).index, c.commit)
	}
	c.confirmReads()
}

// handleReadIndex takes the reads that a follower forwarded.
func (c *Core) handleReadIndex(now Instant, m *raftpb.Message, _ *peer) {
	switch {
	case c.unfit():
		c.answer(m, raftpb.MessageReadIndexResponse, raftpb.ReasonFailed)
	case c.reads.queue.len() >= maxReads:
		c.answer(m, raftpb.MessageReadIndexResponse, raftpb.ReasonBusy)
	default:
		c.queueRead(now, read{id: m.Request, replica: m.From, session: m.FromSession, at: now})
	}
}

func (c *Core) refuseRead(_ Instant, m *raftpb.Message, _ *peer) {
	c.answer(m, raftpb.MessageReadIndexResponse, raftpb.ReasonNotLeader)
}

// handleReadIndexResponse ends a forwarded read. The answer counts only from the leader that it was sent to.
func (c *Core) handleReadIndexResponse(_ Instant, m *raftpb.Message, _ *peer) {
	if m.From != c.leader || m.FromSession != c.leaderSession {
		c.dropped++
		return
	}
	q := &c.reads.forwarded
	for i := range q.len() {
		if q.at(i).id != m.Request {
			continue
		}
		q.removeAt(i)
		if m.Reason != raftpb.ReasonNone {
			c.refuse(Refusal{Kind: RefusedRead, ID: m.Request, Reason: m.Reason})
		} else {
			c.readsOut = append(c.readsOut, ReadState{ID: m.Request, Index: m.LogIndex, Lease: m.HintIndex == 1})
		}
		return
	}
	c.dropped++
}

// confirmReads answers the reads whose round a majority of voters answered in this term.
func (c *Core) confirmReads() {
	r := &c.reads
	r.confirmed = max(r.confirmed, c.quorumRound())
	c.freshRoundConfirmed()
	for r.queue.len() > 0 {
		front := r.queue.front()
		if front.index == 0 || !c.alone() && (front.round == 0 || front.round > r.confirmed) {
			return
		}
		c.answerRead(*front, raftpb.ReasonNone)
		r.queue.popFront()
		r.assigned = max(0, r.assigned-1)
		if r.queue.len() > 0 {
			r.deadline = r.queue.front().at + c.electionTimeout()
		}
	}
}

func (c *Core) answerRead(r read, reason raftpb.Reason) {
	if r.replica == 0 {
		if reason != raftpb.ReasonNone {
			c.refuse(Refusal{Kind: RefusedRead, ID: r.id, Reason: reason})
			return
		}
		c.readsOut = append(c.readsOut, ReadState{ID: r.id, Index: r.index, Lease: r.lease})
		return
	}
	p := c.peer(r.replica)
	if p == nil || p.session != r.session && p.incarnation != 0 { // without one it asked early: see asksEarly
		return
	}
	m := c.message(raftpb.MessageReadIndexResponse, p)
	m.Request, m.Reason, m.ToSession = r.id, reason, r.session
	if reason == raftpb.ReasonNone {
		if m.LogIndex = r.index; r.lease {
			m.HintIndex = 1
		}
		p.waitIndex = max(p.waitIndex, r.index)
		c.sendDue = true
	}
	c.post(m)
}

func (c *Core) refuseQueuedReads(reason raftpb.Reason) {
	r := &c.reads
	for r.queue.len() > 0 {
		c.answerRead(*r.queue.front(), reason)
		r.queue.popFront()
	}
	r.assigned, r.roundDue, r.sendAll, r.confirmed = 0, false, false, r.round
	c.refuseLeaseReads(reason)
}

func (c *Core) endForwardedReads(reason raftpb.Reason) {
	for c.reads.forwarded.len() > 0 {
		c.refuse(Refusal{Kind: RefusedRead, ID: c.reads.forwarded.front().id, Reason: reason})
		c.reads.forwarded.popFront()
	}
}

// expireReads refuses what was not confirmed within an election timeout, so that no read waits for ever (R3).
func (c *Core) expireReads(now Instant) {
	r := &c.reads
	if !r.any() || now < r.deadline {
		return
	}
	limit := now - c.electionTimeout()
	for r.queue.len() > 0 && r.queue.front().at <= limit {
		c.answerRead(*r.queue.front(), raftpb.ReasonNotReady)
		r.queue.popFront()
		r.assigned = max(0, r.assigned-1)
	}
	for r.forwarded.len() > 0 && r.forwarded.front().at <= limit {
		c.refuse(Refusal{Kind: RefusedRead, ID: r.forwarded.front().id, Reason: raftpb.ReasonNotReady})
		r.forwarded.popFront()
	}
	oldest := now
	if r.queue.len() > 0 {
		oldest = min(oldest, r.queue.front().at)
	}
	if r.forwarded.len() > 0 {
		oldest = min(oldest, r.forwarded.front().at)
	}
	r.deadline = oldest + c.electionTimeout()
}
