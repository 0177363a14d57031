package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// replicate sends each follower all that was appended since, within its window, and the commit index to those that wait
// for it. It runs in Drain, so that several proposals of one iteration travel in one message.
func (c *Core) replicate(out *Output) {
	c.sendDue = false
	for _, p := range c.peers {
		c.replicateTo(p, out)
		if p.waitIndex > p.commitSent && c.commit > p.commitSent && p.match > 0 && !p.lost {
			c.announceCommit(p, out)
		}
	}
}

func (c *Core) replicateTo(p *peer, out *Output) {
	limit := c.sendLimit(p)
	for c.windowOpen(p) && (p.next <= limit || p.state == ProgressProbe && p.next > c.log.last) {
		var sent bool
		switch {
		case len(p.batches) > 0:
			sent = c.sendRead(p, out)
		case p.next > c.log.last:
			c.sendProbe(p)
			return
		default:
			sent = c.sendFromMemory(p, limit, out)
		}
		if !sent {
			return
		}
	}
}

// sendFromMemory sends from pins and cache, whole batches, and asks for a log read when the first one is in neither.
func (c *Core) sendFromMemory(p *peer, limit uint64, out *Output) bool {
	i, ok := c.log.find(p.next)
	if !ok || p.damage == damageReported || p.next <= c.log.compacted() {
		c.requestLog(p)
		return false
	}
	start, size := len(out.batches), 0
	for ; i < c.log.runs.len(); i++ {
		r := c.log.runs.at(i)
		if size > 0 && (size+int(r.bytes) > c.options.MaxMessageBytes || r.last() > limit) {
			break
		}
		b, ok := c.log.bytes(i)
		if !ok {
			break
		}
		out.batches = append(out.batches, b)
		size += len(b)
	}
	if size == 0 {
		c.requestLog(p)
		return false
	}
	c.sendBatches(p, out.batches[start:len(out.batches):len(out.batches)], size, out)
	return true
}

// sendBatches emits one Replicate and moves the follower's next.
func (c *Core) sendBatches(p *peer, batches []raftpb.Batch, size int, out *Output) {
	if !c.cutFront(batches) {
		c.needSnapshot(p)
		return
	}
	c.request++
	if p.headersOnly {
		size = headersOf(batches)
	}
	first, last := batches[0].First(), batches[len(batches)-1].Last()
	m := c.message(raftpb.MessageReplicate, p)
	m.LogIndex, m.LogTerm = first-1, c.log.terms.term(first-1)
	m.Commit, m.Request, m.Batches = c.commit, c.request, batches
	out.Messages = append(out.Messages, m)
	p.commitSent = c.commit
	p.sent.Appends++
	if p.state == ProgressProbe {
		p.probe, p.probeLast = c.request, last
		c.progressTimer(p)
		return
	}
	p.inflight.push(span{last: last, bytes: size})
	p.inflightBytes += size
	p.next = last + 1
}

// cutFront replaces the first of some batches by the part of it that is not compacted: the entry in front of what is sent has to be known.
// It is false if that cannot be, for the batch is damaged.
func (c *Core) cutFront(batches []raftpb.Batch) bool {
	if b, begin := batches[0], c.log.compacted()+1; b.First() < begin {
		piece, err := b.Cut(begin, b.Last())
		if err != nil {
			return false
		}
		batches[0] = piece
	}
	return true
}

// announceCommit sends the commit index alone, to a follower that waits for it. It is not answered: its request number
// is 0.
func (c *Core) announceCommit(p *peer, out *Output) {
	if p.match < c.log.compacted() {
		return
	}
	m := c.message(raftpb.MessageReplicate, p)
	m.LogIndex, m.LogTerm, m.Commit = p.match, c.log.terms.term(p.match), c.commit
	p.commitSent = c.commit
	out.Messages = append(out.Messages, m)
}

// requestLog asks for old log for a follower, or finds that it is compacted.
func (c *Core) requestLog(p *peer) {
	if p.next <= c.log.compacted() {
		c.needSnapshot(p)
		return
	}
	to := c.log.durable
	if n := c.log.runs.len(); n > 0 && p.damage != damageReported && c.log.runs.front().first > p.next {
		to = min(to, c.log.runs.front().first-1)
	}
	if p.next > to {
		if p.damage == damageReported {
			p.paused = true // not durable yet: there is nothing to read instead
		}
		return
	}
	p.reading, p.readFrom = c.readLog(p.id, p.next, to, c.options.MaxMessageBytes), p.next
}

func (c *Core) readLog(follower, from, to uint64, maxBytes int) uint64 {
	c.readSeq++
	c.logReads = append(c.logReads, LogRead{
		ShardID: c.options.ShardID, ReplicaID: c.options.ReplicaID, Follower: follower, Number: c.readSeq,
		From: from, To: to, MaxBytes: maxBytes, Term: c.term, Generation: c.log.generation,
	})
	return c.readSeq
}

// sendRead sends what was read from the log store.
func (c *Core) sendRead(p *peer, out *Output) bool {
	batches := p.batches
	p.batches = nil
	if p.damage == damageReported {
		p.damage = damageReread
	}
	if batches[0].First() > p.next || batches[len(batches)-1].Last() < p.next || p.next <= c.log.compacted() {
		return true
	}
	start, size := len(out.batches), 0
	for _, b := range batches {
		out.batches = append(out.batches, b)
		size += len(b)
	}
	c.sendBatches(p, out.batches[start:len(out.batches):len(out.batches)], size, out)
	return true
}

// LogReadDone takes the answer to a LogRead. An answer of another term or generation of the log is dropped (R7); whoever
// still needs the entries asks again. An error, or an answer
// that is not what the log has there, is tried again after a heartbeat interval; damage makes the replica
// abstain (R11).
func (c *Core) LogReadDone(now Instant, r LogRead, batches []raftpb.Batch, err error) {
	waiting := c.readWaiting(r)
	if waiting == nil || c.role == RoleStopped {
		return
	}
	if err != nil && isDamage(err) {
		c.event(Event{Kind: EventReplicationRejected, Replica: c.options.ReplicaID, Reason: raftpb.ReasonDamaged})
		c.abstain()
		return
	}
	current := r.Term == c.term && r.Generation == c.log.generation
	if err != nil || current && r.From > c.log.compacted() && !c.fits(r, batches) {
		c.readFailed(now, r)
		return
	}
	*waiting.reading = 0
	c.sendDue = c.sendDue || c.role == RoleLeader
	if current && r.From > c.log.compacted() {
		*waiting.batches = append((*waiting.batches)[:0], batches...)
	}
}

// readFailed leaves the read as one under way until retryReads. So does a store that answers with nothing, or with something
// else than the log has there, and no error: asking again at once would go on for ever.
func (c *Core) readFailed(now Instant, r LogRead) {
	c.retryAt = now + Instant(c.options.HeartbeatInterval)
	if p := c.peer(r.Follower); p != nil {
		p.failures++
	}
}

// readWaiter is the place that a log read was for.
type readWaiter struct {
	reading *uint64
	batches *[]raftpb.Batch
}

func (c *Core) readWaiting(r LogRead) *readWaiter {
	if r.Follower == 0 {
		if c.apply.reading == r.Number && r.Number != 0 {
			return &readWaiter{&c.apply.reading, &c.apply.batches}
		}
		if c.tail.reading == r.Number && r.Number != 0 {
			return &readWaiter{&c.tail.reading, &c.tail.batches}
		}
		return nil
	}
	if p := c.peer(r.Follower); p != nil && p.reading == r.Number && r.Number != 0 {
		return &readWaiter{&p.reading, &p.batches}
	}
	return nil
}

// fits checks that what was read is what the log has there.
func (c *Core) fits(r LogRead, batches []raftpb.Batch) bool {
	if len(batches) == 0 || batches[0].First() > r.From || batches[0].Last() < r.From {
		return false
	}
	next := batches[0].First()
	for _, b := range batches {
		if b.First() != next || !c.log.holds(b.Last(), b.Term()) {
			return false
		}
		next = b.Last() + 1
	}
	return true
}
