package raft

// Compact says that nobody here needs the log up to index any more: a snapshot holds it, or the state machine does, durably. It comes
// out as a Compaction, perhaps of less, and of the rest later without being asked again: what is not applied stays, what a log
// read under way is for, what a follower needs that a snapshot is on its way to, and everything while one is on its way to
// this replica, or its state machine has not recovered from it.
func (c *Core) Compact(now Instant, index uint64) {
	c.now = now
	c.compactTo = max(c.compactTo, index)
}

// compactDue says that some of the log that is not needed can go now.
func (c *Core) compactDue() bool {
	return c.compactTo > c.log.compacted() && c.compactable() > c.log.compacted()
}

// compactable returns the last entry that can go now.
func (c *Core) compactable() uint64 {
	if c.installing || c.install.recovering || c.role >= RoleAbstaining {
		return 0
	}
	index := min(c.compactTo, c.applied, c.log.durable)
	for _, p := range c.peers {
		index = min(index, c.neededBy(p))
	}
	return index
}

// neededBy returns the last entry that may go as far as p is concerned. A follower that a snapshot is on its way to goes on behind it,
// and what is appended meanwhile has to be there then: under load a big snapshot would be too old whenever it has arrived, for
// ever. That keeps the log only while the follower is heard, its snapshots come through, and the disk has room.
func (c *Core) neededBy(p *peer) uint64 {
	if p.reading != 0 || len(p.batches) > 0 {
		return max(p.readFrom, 1) - 1
	}
	if c.role == RoleLeader && p.state == ProgressSnapshot && p.offer.stream != 0 && p.offer.failures == 0 &&
		c.heardLately(p) && c.storage == StorageOK {
		return p.offer.least.Index
	}
	return maxNumber
}

// emitCompaction forgets what can go and says so.
func (c *Core) emitCompaction(out *Output) {
	c.log.compact(c.compactable())
	before := c.log.terms.before
	out.Compactions = append(out.Compactions, Compaction{
		ShardID: c.options.ShardID, ReplicaID: c.options.ReplicaID, Index: before.Index, Term: before.Term,
	})
}
