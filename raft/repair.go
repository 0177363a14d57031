package raft

import (
	"math"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Lost is the record of promises of a replica whose state is not to be believed: whatever its log store holds is less. A replica
// that is started with it abstains and asks to be healed (R14, R15); what it holds stays until the shard has committed that.
func Lost() Promised { return Promised{VoteTerm: math.MaxUint64} }

// Repair makes the replica doubt what it holds: it abstains from now on, remembers that across restarts, and asks to be healed.
// Nothing is thrown away before the others have made it a learner of a new incarnation, which takes a quorum without it. Reasons:
// Stopped; Denied if healing is turned off; Lost if this is the only voter, whose data nobody else has; PendingChange if
// two configurations are in effect, which it may be needed for; NotReady if the others are not known to go on without it.
func (c *Core) Repair(now Instant) raftpb.Reason {
	c.now = now
	switch {
	case c.role == RoleStopped:
		return raftpb.ReasonStopped
	case c.options.DisableHealing || c.options.NextIncarnation == 0:
		return raftpb.ReasonDenied
	case c.alone():
		return raftpb.ReasonLost
	case c.membership.Joint():
		return raftpb.ReasonPendingChange
	case c.role == RoleAbstaining && c.heal.promised == Lost():
		return raftpb.ReasonNone
	case c.role != RoleAbstaining && !c.sparable(now):
		return raftpb.ReasonNotReady
	}
	c.heal.promised = Lost()
	if c.role == RoleAbstaining {
		c.beginHealing()
	} else {
		c.abstain()
	}
	return raftpb.ReasonNone
}

// sparable says that the others go on without this replica, as far as is known here: one of them leads, or this one does and hears a quorum
// besides itself, and those that said that they lost their state, with this one, leave a quorum. Without one nobody would ever be
// healed, nor could the doubt be taken back.
func (c *Core) sparable(now Instant) bool {
	switch c.role {
	case RoleFollower:
		if c.leader == 0 || c.heardAt+c.electionTimeout() <= now {
			return false
		}
	case RoleLeader:
		if !c.quorumHas(func(p *peer) bool { return p != nil && !p.lost && p.lastContact+c.electionTimeout() > now }) {
			return false
		}
	default:
		return false
	}
	voters, left := 0, 0
	for i := range c.membership.Members {
		member := &c.membership.Members[i]
		if member.Kind == raftpb.Learner {
			continue
		}
		voters++
		if member.ReplicaID != c.options.ReplicaID && !c.saysLost(member.ReplicaID, now) {
			left++
		}
	}
	return left > voters/2
}
