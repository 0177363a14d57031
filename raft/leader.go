package raft

import (
	"slices"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// becomeLeader takes over the term. Its first entry is one of its own term, since only such entries are committed by
// counting (thesis 3.6.2), and the probe of every follower carries it.
func (c *Core) becomeLeader(now Instant) {
	invariant.Check(c.save.stateDurable() && c.vote == c.options.ReplicaID, "a leader's own vote is durable")
	c.role = RoleLeader
	c.setLeader(c.options.ReplicaID, c.options.Session, c.bootstrap.Incarnation)
	c.electionAt = Never
	c.heartbeatAt = c.nextHeartbeat(now)
	c.checkAt = now + c.electionTimeout()
	c.uncommitted = 0
	for _, p := range c.peers {
		c.beginFollower(p)
	}
	c.termStart = c.log.last + 1
	c.lease.over = false
	if c.transfer.elected { // somebody waits to hear that it has committed
		for _, p := range c.peers {
			p.waitIndex = c.termStart
		}
	}
	if c.configs[len(c.configs)-1].Index == 0 && c.log.last == 0 {
		c.appendOwn(now, raftpb.NewMembership(c.options.ShardID, c.firstMembership()))
	}
	c.appendOwn(now, raftpb.NewNoOp(c.options.ShardID))
}

// firstMembership is the initial membership with the incarnations of those that were heard, as far as a leader that adopted
// this replica ended the exchange before it knew them (R16).
func (c *Core) firstMembership() raftpb.Membership {
	m := raftpb.Membership{Members: slices.Clone(c.membership.Members)}
	for _, p := range c.peers {
		if member := memberOf(&m, p.id); member.Incarnation == 0 {
			member.Incarnation = p.incarnation
		}
	}
	return m
}

// appendOwn stamps a batch and appends it; the followers get it from Drain, all that was appended since in one message.
func (c *Core) appendOwn(now Instant, b raftpb.Batch) {
	b.Stamp(c.term, c.log.last+1)
	c.log.append(b, 0)
	c.uncommitted += len(b)
	c.sendDue = true
	if b.Kind() == raftpb.KindMembership {
		membership, err := b.Membership()
		invariant.Check(err == nil, "a leader's own membership batch decodes")
		c.addConfig(now, membership)
	}
}

// advanceCommit counts durable copies. Only an entry of the leader's own term is committed by counting; those before it
// follow (thesis 3.6.2).
func (c *Core) advanceCommit(now Instant) {
	index := c.quorumMatch()
	if index <= c.commit || index < c.termStart {
		return
	}
	c.setCommit(now, index)
	c.noteStandIn()
	if c.role != RoleLeader { // it removed itself
		return
	}
	c.sendDue = true
	c.readsBecameReady()
}

// setCommit moves the commit index up. It is not saved for its own sake; the next write carries it.
func (c *Core) setCommit(now Instant, index uint64) {
	if index > c.log.last {
		invariant.Fail("commit %d beyond the last entry %d", index, c.log.last)
	}
	if index <= c.commit {
		return
	}
	before := c.commit
	c.commit = index
	size := c.log.sizeBetween(before, index)
	c.uncommitted = max(0, c.uncommitted-size)
	if index == c.log.last {
		c.uncommitted = 0
	}
	if before < c.apply.uncounted {
		size = c.log.sizeBetween(c.apply.uncounted, index)
	}
	c.committedToApply(size)
	c.pending.committed(index)
	c.passOver()
	c.committedConfigs(now, before)
	if c.transfer.waits {
		c.transferSettled()
	}
}

// sizeBetween returns the bytes of the runs that end in (after, upTo].
func (l *raftLog) sizeBetween(after, upTo uint64) int {
	total := 0
	for i := l.runs.len() - 1; i >= 0; i-- {
		r := l.runs.at(i)
		if r.last() <= after {
			break
		}
		if r.last() <= upTo {
			total += int(r.bytes)
		}
	}
	return total
}
