package raft

import (
	"slices"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// beginBootstrap starts the exchange in which every initial voter tells every other that it is empty too (R16). Without
// it two of three that came back on empty disks would elect each other and serve an empty shard.
func (c *Core) beginBootstrap(now Instant) {
	c.role = RoleBootstrapping
	c.electionAt = Never
	c.bootstrap.Initial.Members = slices.Clone(c.bootstrap.Initial.Members)
	c.learnInitial(c.options.ReplicaID, c.bootstrap.Incarnation)
	c.heartbeatAt = c.nextHeartbeat(now)
	c.askInitialMembers()
	c.finishBootstrap(now)
}

// askInitialMembers asks every initial voter, also one that has answered "empty too": it may have voted since, with others, and is
// then the one who knows that this replica may follow, while a third that could answer as well has lost its state for good.
func (c *Core) askInitialMembers() {
	for _, p := range c.peers {
		member := memberOf(&c.bootstrap.Initial, p.id)
		if member == nil || member.Kind == raftpb.Learner {
			continue
		}
		m := c.message(raftpb.MessageBootstrap, p)
		m.Payload = raftpb.EncodeMembership(c.initialWithoutIncarnations())
		c.post(m)
	}
}

func (c *Core) initialWithoutIncarnations() raftpb.Membership {
	m := raftpb.Membership{Members: slices.Clone(c.bootstrap.Initial.Members)}
	for i := range m.Members {
		m.Members[i].Incarnation = 0
	}
	return m
}

func (c *Core) learnInitial(id, incarnation uint64) {
	if member := memberOf(&c.bootstrap.Initial, id); member != nil {
		member.Incarnation = incarnation
		if id == c.options.ReplicaID && member.Address == "" {
			member.Address = c.options.Address
		}
	}
}

// handleBootstrap says what this replica is: empty too, or not, with the newest membership for the asker to find its own
// incarnation in. An asker that was removed meanwhile is told so: it would ask for ever.
func (c *Core) handleBootstrap(_ Instant, m *raftpb.Message, p *peer) {
	initial, err := raftpb.DecodeMembership(m.Payload)
	if err != nil {
		c.dropped++
		return
	}
	if c.role != RoleBootstrapping {
		if c.sayRemoved(m, p) {
			return
		}
		answer := c.answer(m, raftpb.MessageBootstrapResponse, raftpb.ReasonNotEmpty)
		answer.Payload = raftpb.EncodeMembership(*c.membership)
		return
	}
	if !sameMembers(&initial, &c.bootstrap.Initial) {
		c.event(Event{Kind: EventReplicationRejected, Replica: m.From, Reason: raftpb.ReasonDenied})
		c.answer(m, raftpb.MessageBootstrapResponse, raftpb.ReasonDenied)
		return
	}
	c.answer(m, raftpb.MessageBootstrapResponse, raftpb.ReasonNone)
}

func sameMembers(a, b *raftpb.Membership) bool {
	return slices.EqualFunc(a.Members, b.Members, func(x, y raftpb.Member) bool {
		return x.ReplicaID == y.ReplicaID && x.Kind == y.Kind
	})
}

func (c *Core) handleBootstrapResponse(now Instant, m *raftpb.Message, _ *peer) {
	switch m.Reason {
	case raftpb.ReasonNone:
		c.learnInitial(m.From, m.FromIncarnation)
		c.finishBootstrap(now)
	case raftpb.ReasonNotEmpty:
		c.foundState(now, m)
	default:
		c.event(Event{Kind: EventReplicationRejected, Replica: m.From, Reason: m.Reason})
	}
}

// foundState: the shard exists already. Either it knows this very incarnation, then nothing was lost and the replica
// follows; or it knows another one, whose promises this replica does not remember: it abstains; or the ID was added again, as a learner
// whose incarnation nobody knows yet: then it is one that joins, for whoever had the ID before was removed. The other incarnations are
// learned, for this replica may yet be the first leader whose entries stay and record them.
func (c *Core) foundState(now Instant, m *raftpb.Message) {
	membership, err := raftpb.DecodeMembership(m.Payload)
	if err != nil {
		c.dropped++
		return
	}
	self := memberOf(&membership, c.options.ReplicaID)
	switch {
	case self == nil:
		c.dropped++
	case self.Incarnation == c.bootstrap.Incarnation:
		for i := range membership.Members {
			if member := &membership.Members[i]; member.Incarnation != 0 {
				c.learnInitial(member.ReplicaID, member.Incarnation)
			}
		}
		c.completeBootstrap(now)
	case self.Incarnation != 0:
		c.abstain()
	case self.Kind == raftpb.Learner && membership.ID != 0:
		c.bootstrap.Join, c.bootstrap.Initial = true, raftpb.Membership{}
		c.completeBootstrap(now)
	}
}

// finishBootstrap completes once every initial voter has answered.
func (c *Core) finishBootstrap(now Instant) {
	for i := range c.bootstrap.Initial.Members {
		member := &c.bootstrap.Initial.Members[i]
		if member.Kind != raftpb.Learner && member.Incarnation == 0 {
			return
		}
	}
	c.completeBootstrap(now)
}

// completeBootstrap makes the replica an ordinary follower. The record is written with, or before, its first vote.
func (c *Core) completeBootstrap(now Instant) {
	c.bootstrap.Complete = true
	c.save.bootstrap = true
	c.role = RoleFollower
	c.heartbeatAt = Never
	if c.log.last == 0 {
		c.configs = []raftpb.ConfigRecord{{Membership: c.bootstrap.Initial}}
		c.useNewestConfig()
	}
	c.resetElectionTimer(now)
	c.event(Event{Kind: EventBootstrapped})
}

// adoptedByLeader ends the exchange early: a leader that addresses this very incarnation has it in its membership.
func (c *Core) adoptedByLeader(now Instant, m *raftpb.Message, _ *peer) {
	if m.ToIncarnation != c.bootstrap.Incarnation {
		c.dropped++
		return
	}
	c.completeBootstrap(now)
	c.Step(now, m)
}
