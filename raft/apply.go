package raft

import (
	"errors"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// applyReady says that the next batch is committed and durable here (R8) and that the state machine has room for it.
func (c *Core) applyReady() bool {
	if c.handed >= min(c.commit, c.log.durable) || c.quarantined || c.role >= RoleAbstaining {
		return false
	}
	if c.install.recovering || c.apply.reading != 0 || c.apply.bytes >= c.options.MaxPinnedBytes {
		return false
	}
	if len(c.apply.batches) > 0 {
		return c.apply.batches[0].Last() <= min(c.commit, c.log.durable)
	}
	i, ok := c.log.find(c.handed + 1)
	return !ok || c.log.runs.at(i).last() <= min(c.commit, c.log.durable)
}

// handOver hands over whole batches in index order, bounded in bytes; what is in neither pins nor cache is asked for.
func (c *Core) handOver(out *Output) {
	size := 0
	for c.applyReady() && (size == 0 || size < c.options.MaxApplyBytes) {
		b, ok := c.nextToApply()
		if !ok {
			break
		}
		if size > 0 && size+len(b) > c.options.MaxApplyBytes {
			break
		}
		if b.Flags()&raftpb.FlagBodyOmitted != 0 {
			if !c.takesHeaders() { // a witness was made a data member: it has not what it acknowledges
				c.abstain()
			}
			return
		}
		c.handOne(b, out)
		size += len(b)
	}
	c.unpin()
}

func (c *Core) handOne(b raftpb.Batch, out *Output) {
	if len(c.apply.batches) > 0 {
		c.apply.batches[0] = nil
		c.apply.batches = c.apply.batches[1:]
	}
	out.Apply = append(out.Apply, b)
	c.handed = b.Last()
	c.apply.outstanding.push(span{last: b.Last(), bytes: len(b)})
	c.apply.bytes += len(b)
	c.handedToApply(b)
	c.pending.applied(b, c.options.ReplicaID, c.options.Session)
}

// nextToApply returns the batch that begins after the last one handed over, or asks for it.
func (c *Core) nextToApply() (raftpb.Batch, bool) {
	next := c.handed + 1
	if len(c.apply.batches) > 0 {
		if b := c.apply.batches[0]; b.First() <= next && next <= b.Last() && c.log.holds(b.Last(), b.Term()) {
			return c.behind(b, c.handed)
		}
		c.apply.batches = nil
	}
	i, ok := c.log.find(next)
	if ok {
		if b, here := c.log.bytes(i); here {
			return c.behind(b, c.handed)
		}
	}
	c.apply.reading = c.readLog(0, next, min(c.commit, c.log.durable), c.options.MaxApplyBytes)
	return nil, false
}

// behind returns the part of a batch that is behind an entry, which may lie within it: a snapshot, or what a state machine holds, need
// not end where a batch does. It is false for a batch that is damaged; the replica abstains then.
func (c *Core) behind(b raftpb.Batch, index uint64) (raftpb.Batch, bool) {
	if b.First() > index {
		return b, true
	}
	piece, err := b.Cut(index+1, b.Last())
	if err != nil {
		c.abstain()
		return nil, false
	}
	return piece, true
}

// Applied says that the state machine has applied everything up to index.
func (c *Core) Applied(index uint64) {
	c.applied = max(c.applied, min(index, c.handed))
	q := &c.apply.outstanding
	for q.len() > 0 && q.front().last <= c.applied {
		c.apply.bytes -= q.front().bytes
		q.popFront()
	}
}

// isDamage says that the log store found damaged batches, rather than failing to read.
func isDamage(err error) bool {
	return errors.Is(err, raftpb.ErrBodyChecksum) || errors.Is(err, raftpb.ErrBadBatch)
}
