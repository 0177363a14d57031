package raft

import (
	"slices"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// The initial voters agree on who begins the shard before one of them votes (R16). Each has a table of their incarnations, and three rules:
//
//   - An incarnation is entered from an answer of its own. Until the table is full a newer one takes its place: a host that is set up
//     anew while the last one is awaited holds nobody up.
//   - Once the table is full it stays as it is, also across restarts, and is shown to the others only after it is durable.
//   - A replica begins when every initial voter has shown it a table that is the same as its own.
//
// So every voter begins with the same incarnations, and two tables with which the shard was begun differ in all of them or in none: whoever stands in
// both has shown one table only. Without the tables a voter that answered "empty too" might do so again: to another incarnation, whose former
// one had begun the shard with that answer and has lost its disk since, while a third that knows better is cut off. Where two of three come
// back on empty disks they would elect each other, and serve an empty shard.
//
// Who loses its disk between the first full table and the first replica that begins keeps the shard from being begun: what the table says
// of it is kept by those that cannot know that nothing was decided. Its owner then removes all of them, and starts them anew.

// exchange is what a bootstrapping replica has from another initial voter.
type exchange struct {
	since  uint64 // requests up to this one were sent before its present incarnation was known
	agreed bool   // it has shown the same full table
}

func (c *Core) beginBootstrap(now Instant) {
	c.role = RoleBootstrapping
	c.electionAt = Never
	c.bootstrap.Initial.Members = slices.Clone(c.bootstrap.Initial.Members)
	full := c.tableFull()
	c.learnInitial(c.options.ReplicaID, c.bootstrap.Incarnation)
	c.heartbeatAt = c.nextHeartbeat(now)
	c.askInitialMembers()
	if !full {
		c.tableChanged()
	}
	c.finishBootstrap(now)
}

// askInitialMembers asks every initial voter, also one that has answered "empty too": it may have voted since, with others, and is
// then the one who knows that this replica may follow, while a third that could answer as well has lost its state for good. Nobody is
// addressed by incarnation: it may be another one by now.
func (c *Core) askInitialMembers() {
	c.asked++
	for _, p := range c.peers {
		member := memberOf(&c.bootstrap.Initial, p.id)
		if member == nil || member.Kind == raftpb.Learner {
			continue
		}
		m := c.message(raftpb.MessageBootstrap, &peer{id: p.id})
		m.Request, m.Payload = c.asked, raftpb.EncodeMembership(c.bootstrap.Initial)
		c.post(m)
	}
}

func (c *Core) learnInitial(id, incarnation uint64) {
	if member := memberOf(&c.bootstrap.Initial, id); member != nil {
		member.Incarnation = incarnation
		if id == c.options.ReplicaID && member.Address == "" {
			member.Address = c.options.Address
		}
	}
}

// tableFull says that every initial voter is known by an incarnation: the table does not change any more.
func (c *Core) tableFull() bool {
	for i := range c.bootstrap.Initial.Members {
		if member := &c.bootstrap.Initial.Members[i]; member.Kind != raftpb.Learner && member.Incarnation == 0 {
			return false
		}
	}
	return true
}

// tableChanged has a table that is full now written before it is shown, and shown at once.
func (c *Core) tableChanged() {
	if c.tableFull() {
		c.save.bootstrap, c.save.state = true, true
		c.askInitialMembers()
	}
}

// handleBootstrap says what this replica is: empty too, or not, with the newest membership for the asker to find its own
// incarnation in. Not empty is also what one says whose table has another incarnation of the asker for good. An asker that was removed
// meanwhile is told so: it would ask for ever.
func (c *Core) handleBootstrap(now Instant, m *raftpb.Message, p *peer) {
	initial, err := raftpb.DecodeMembership(m.Payload)
	if err != nil {
		c.dropped++
		return
	}
	if c.role != RoleBootstrapping {
		if c.sayRemoved(m, p) {
			return
		}
		c.answer(m, raftpb.MessageBootstrapResponse, raftpb.ReasonNotEmpty).Payload = raftpb.EncodeMembership(*c.membership)
		return
	}
	if !sameMembers(&initial, &c.bootstrap.Initial) {
		c.event(Event{Kind: EventReplicationRejected, Replica: m.From, Reason: raftpb.ReasonDenied})
		c.answer(m, raftpb.MessageBootstrapResponse, raftpb.ReasonDenied)
		return
	}
	reason := raftpb.ReasonNone
	if member := memberOf(&c.bootstrap.Initial, m.From); c.tableFull() && member != nil && member.Incarnation != m.FromIncarnation {
		reason = raftpb.ReasonNotEmpty
	}
	c.answer(m, raftpb.MessageBootstrapResponse, reason).Payload = raftpb.EncodeMembership(c.bootstrap.Initial)
	c.showsTable(now, m, &initial)
}

func sameMembers(a, b *raftpb.Membership) bool {
	return slices.EqualFunc(a.Members, b.Members, func(x, y raftpb.Member) bool {
		return x.ReplicaID == y.ReplicaID && x.Kind == y.Kind
	})
}

func (c *Core) handleBootstrapResponse(now Instant, m *raftpb.Message, _ *peer) {
	switch m.Reason {
	case raftpb.ReasonNone:
		c.heardEmpty(now, m)
	case raftpb.ReasonNotEmpty:
		c.foundState(now, m)
	default:
		c.event(Event{Kind: EventReplicationRejected, Replica: m.From, Reason: m.Reason})
	}
}

// heardEmpty enters who answered into the table. What answers a request that was sent before the present incarnation was known may be older.
func (c *Core) heardEmpty(now Instant, m *raftpb.Message) {
	table, err := raftpb.DecodeMembership(m.Payload)
	member, p := memberOf(&c.bootstrap.Initial, m.From), c.peer(m.From)
	if err != nil || member == nil || p == nil || m.Request > c.asked || !sameMembers(&table, &c.bootstrap.Initial) {
		c.dropped++
		return
	}
	if member.Incarnation != m.FromIncarnation {
		if c.tableFull() || m.Request <= p.exchange.since {
			c.dropped++
			return
		}
		p.exchange.since = c.asked
		c.learnInitial(m.From, m.FromIncarnation)
		c.tableChanged()
	}
	c.showsTable(now, m, &table)
}

// showsTable notes that another initial voter has the same table for good.
func (c *Core) showsTable(now Instant, m *raftpb.Message, table *raftpb.Membership) {
	member, p := memberOf(&c.bootstrap.Initial, m.From), c.peer(m.From)
	if member == nil || p == nil || member.Incarnation != m.FromIncarnation || !c.tableFull() || !sameTable(table, &c.bootstrap.Initial) {
		return
	}
	p.exchange.agreed = true
	c.finishBootstrap(now)
}

func sameTable(a, b *raftpb.Membership) bool {
	return slices.EqualFunc(a.Members, b.Members, func(x, y raftpb.Member) bool {
		return x.ReplicaID == y.ReplicaID && x.Kind == y.Kind && (x.Kind == raftpb.Learner || x.Incarnation == y.Incarnation)
	})
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

// finishBootstrap completes once every initial voter has the same table.
func (c *Core) finishBootstrap(now Instant) {
	if !c.tableFull() {
		return
	}
	for i := range c.bootstrap.Initial.Members {
		member := &c.bootstrap.Initial.Members[i]
		if p := c.peer(member.ReplicaID); member.Kind != raftpb.Learner && p != nil && !p.exchange.agreed {
			return
		}
	}
	c.completeBootstrap(now)
}

// completeBootstrap makes the replica an ordinary follower. The record is written before it says anything as that.
func (c *Core) completeBootstrap(now Instant) {
	c.bootstrap.Complete = true
	c.save.bootstrap, c.save.state = true, true
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
