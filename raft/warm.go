package raft

// With a thousand busy shards the cores of a host do not fit into a processor's cache. An input then finds each line of its core in memory only,
// and what one line refers to when that has come: an event would wait a dozen times for most of its time. The lines of different cores do
// not wait for each other, so whoever has many inputs lets each of their cores be read once before, all first lines, then all second ones: a processor
// has many such reads under way at a time. The sums are of no use to anybody; they keep the reads from being left out.

// Warm reads a word of each line of the core that inputs touch.
func (c *Core) Warm() uint64 {
	return c.term + c.applied + uint64(c.timeout) + c.log.last + c.log.terms.before.Term + uint64(c.log.pinned) + c.save.saved +
		uint64(c.uncommitted) + c.compactTo + uint64(c.apply.bytes) + uint64(c.pending.uncommittedEntries) +
		uint64(len(c.pending.forwards)) + c.reads.confirmed + uint64(c.lease.promise) + uint64(c.fresh.newest.At) +
		uint64(len(c.configs)) + c.pull.from + uint64(len(c.readsOut)) + uint64(len(c.logReads)) +
		c.options.Session + uint64(c.options.MaxMessageBytes) + c.bootstrap.Incarnation + uint64(len(c.changes.waits))
}

// WarmReferred reads a word of what the core refers to; it is worth its while behind Warm.
func (c *Core) WarmReferred() (sum uint64) {
	l := &c.log
	if n := l.runs.len(); n > 0 {
		sum += l.runs.at(n - 1).first
	}
	if n := l.pins.len(); n > 0 {
		sum += uint64(len(*l.pins.at(n - 1)))
	}
	if n := len(l.terms.starts); n > 0 {
		sum += l.terms.starts[n-1].First
	}
	if n := len(c.configs); n > 0 {
		sum += c.configs[n-1].Index
	}
	if c.save.writes.len() > 0 {
		sum += c.save.writes.front().number
	}
	if c.apply.outstanding.len() > 0 {
		sum += c.apply.outstanding.front().last
	}
	leads := c.role == RoleLeader
	for _, p := range c.peers {
		sum += p.id
		if leads {
			sum += p.match + p.round + p.waitIndex + uint64(p.inflightBytes) + p.backlog
		}
	}
	if c.pending.uncommitted.len() > 0 {
		sum += c.pending.uncommitted.front().last
	}
	if c.pending.proposals.len() > 0 {
		sum += c.pending.proposals.front().sequence
	}
	return sum
}
