package raft

import (
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// ElectionTimeout returns the base of the randomized election timeout that is in force.
func (c *Core) ElectionTimeout() time.Duration { return time.Duration(c.electionTimeout()) }

// leaves says that this leader is no voter of the newest membership, and steps down once that is committed. It takes no more proposals: its log
// then ends with that membership, and whoever acknowledged it, as a quorum did, has everything and can be told to take over
// at once. With proposals behind it nobody would, and the shard would wait for an election timeout.
func (c *Core) leaves() bool { return !c.selfVotes() }

// sayFarewell is the last word of a leader that stops without having handed over, or leaves the membership. A voter that has everything is told to
// campaign at once, unless one was told before. All others are told that nobody leads any more: TimeoutNow with ReasonStopped. The
// heir may be gone too, or not have all that they have; they need not wait out the timeout of a leader that said good-bye.
func (c *Core) sayFarewell(now Instant) {
	heir := c.transfer.leader.target
	if !c.transfer.leader.told {
		heir = c.tellHeir(now)
	}
	for _, p := range c.peers {
		if p.id == heir || !p.votes() || p.session == 0 {
			continue
		}
		m := c.message(raftpb.MessageTimeoutNow, p)
		m.Reason = raftpb.ReasonStopped
		c.endLease()
		c.post(m)
	}
}

// leaderLeaves takes a leader's farewell. The replica forgets it, so that it does not hold another candidate up, and campaigns by
// itself, with a pre-vote as always, after between one and three quarters of an election timeout: an heir that was
// told to campaign at once has won by then, and those without one seldom campaign at the same time.
func (c *Core) leaderLeaves(now Instant) {
	c.setLeader(0, 0, 0)
	c.release()
	base := Instant(c.options.ElectionTimeout)
	c.electionAt = min(c.electionAt, now+base/4+Instant(c.random.next()%uint64(base/2+1)))
}
