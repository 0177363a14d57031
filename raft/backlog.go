package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// The rate limit. A log is accepted no faster than state machines take it, with MaxBacklogBytes of slack: each replica counts the
// bytes that it knows to be committed and has not applied, followers say so with every answer, and a leader refuses
// proposals while it has too much itself, or a quorum does. It reacts to a quorum so that whoever leads next is not hopelessly
// behind; not to any one follower, since then one slow or stopped replica would slow the shard. Nothing has to be released:
// the numbers fall as state machines get on, and the next answers say so.
//
// It is a number of the moment, not a queue: what is behind is in the log, and in memory only up to MaxPinnedBytes.

// backlog is what is committed and not applied here, in bytes. A quarantined replica applies nothing any more and would count for
// ever, although nobody waits for it.
func (c *Core) backlog() int {
	if c.quarantined {
		return 0
	}
	return c.apply.bytes + c.apply.waiting
}

// committedToApply and handedToApply keep count of what is in between. A batch that is not remembered any more when it is
// committed, because a small cache let go of it, counts as nothing; hence the floor, and the fresh start at zero.
func (c *Core) committedToApply(size int) {
	if !c.quarantined && !c.witness {
		c.apply.waiting += size
	}
}

func (c *Core) handedToApply(b raftpb.Batch) {
	if b.Last() > c.apply.uncounted {
		c.apply.waiting = max(0, c.apply.waiting-len(b))
	}
	if c.handed >= c.commit {
		c.apply.waiting = 0
	}
}

// Overloaded says that this replica leads and refuses proposals until state machines have caught up.
func (c *Core) Overloaded() bool {
	return c.role == RoleLeader && (c.crowded || c.backlog() > c.options.MaxBacklogBytes)
}

// noteBacklog takes what a follower said last. Only crossing the limit can change anything.
func (c *Core) noteBacklog(p *peer, bytes uint64) {
	limit := uint64(c.options.MaxBacklogBytes)
	crossed := (p.backlog > limit) != (bytes > limit)
	p.backlog = bytes
	if crossed || c.crowded {
		c.settleCrowded()
	}
}

func (c *Core) settleCrowded() {
	c.crowded = c.quorumHas(func(p *peer) bool {
		if p == nil {
			return c.backlog() > c.options.MaxBacklogBytes
		}
		return p.backlog > uint64(c.options.MaxBacklogBytes)
	})
}
