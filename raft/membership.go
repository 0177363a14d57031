package raft

import (
	"iter"
	"slices"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// singleChange says that every majority of voters of one membership overlaps every majority of the other. A voter whose
// incarnation changes is another voter (R15), unless it was not known before.
func singleChange(from, to *raftpb.Membership) bool {
	voters, differing := 0, 0
	for i := range to.Members {
		if to.Members[i].Kind == raftpb.Learner {
			continue
		}
		voters++
		if !sameVoter(memberOf(from, to.Members[i].ReplicaID), &to.Members[i]) {
			differing++
		}
	}
	for i := range from.Members {
		if from.Members[i].Kind != raftpb.Learner && !sameVoter(&from.Members[i], memberOf(to, from.Members[i].ReplicaID)) {
			differing++
		}
	}
	return voters > 0 && differing <= 1
}

func sameVoter(from, to *raftpb.Member) bool {
	return from != nil && to != nil && from.Kind != raftpb.Learner && to.Kind != raftpb.Learner &&
		(from.Incarnation == to.Incarnation || from.Incarnation == 0)
}

// memberOf returns what the membership says of a replica: in a joint one what the incoming configuration says, or the
// outgoing one of a member that leaves.
func memberOf(m *raftpb.Membership, id uint64) *raftpb.Member {
	if member := findMember(m.Members, id); member != nil {
		return member
	}
	return findMember(m.Outgoing, id)
}

// everyMember yields what memberOf says of each member of either configuration, ascending by ID.
func everyMember(m *raftpb.Membership) iter.Seq[*raftpb.Member] {
	return func(yield func(*raftpb.Member) bool) {
		members, leaving := m.Members, m.Outgoing
		for len(members) > 0 || len(leaving) > 0 {
			var member *raftpb.Member
			if len(leaving) == 0 || len(members) > 0 && members[0].ReplicaID <= leaving[0].ReplicaID {
				member = &members[0]
				if len(leaving) > 0 && leaving[0].ReplicaID == member.ReplicaID {
					leaving = leaving[1:]
				}
				members = members[1:]
			} else {
				member, leaving = &leaving[0], leaving[1:]
			}
			if !yield(member) {
				return
			}
		}
	}
}

// addConfig puts the membership of an appended entry into effect.
func (c *Core) addConfig(_ Instant, m raftpb.Membership) {
	invariant.Check(m.ID > c.configs[len(c.configs)-1].Index, "memberships ascend")
	c.configs = append(c.configs, raftpb.ConfigRecord{Index: m.ID, Membership: m})
	c.useNewestConfig()
}

// undoConfigs takes back the memberships of entries from index on, which were cut.
func (c *Core) undoConfigs(index uint64) {
	n := len(c.configs)
	for n > 1 && c.configs[n-1].Index >= index {
		n--
	}
	if n < len(c.configs) {
		c.configs = c.configs[:n]
		c.useNewestConfig()
		c.refuseChangeWaits(raftpb.ReasonNotLeader)
	}
}

// useNewestConfig makes the newest membership the effective one. While it is joint, the peers are the members of both
// configurations. Members that stay keep their sessions and progress, unless their incarnation changed.
func (c *Core) useNewestConfig() {
	m := c.configs[len(c.configs)-1].Membership
	c.membership = &m
	switch {
	case memberOf(&m, c.options.ReplicaID) == nil:
		c.addedAt = 0 // it counts from the membership that adds this replica again
	case c.addedAt == 0:
		c.addedAt = c.memberSince()
	}
	before := c.peers
	c.peers = make([]*peer, 0, len(m.Members))
	for member := range everyMember(&m) {
		if member.ReplicaID != c.options.ReplicaID {
			p := c.carryPeer(before, member)
			p.after = c.replacedAt(member)
			c.peers = append(c.peers, p)
		}
	}
	c.countVoters()
	c.changing = unfinished(&m)
	for _, p := range before {
		if c.role == RoleLeader && !slices.Contains(c.peers, p) {
			c.endFollower(p)
		}
	}
	c.learnRank()
	c.event(Event{Kind: EventMembershipChanged, ID: m.ID})
	c.checkTransferTarget()
}

// memberSince returns the oldest known membership since which this replica is a member in all. The newest may be one that only this
// replica has, above the very removal that it has to obey.
func (c *Core) memberSince() (id uint64) {
	for i := len(c.configs) - 1; i >= 0; i-- {
		m := &c.configs[i].Membership
		if memberOf(m, c.options.ReplicaID) == nil {
			break
		}
		id = m.ID
	}
	return id
}

func (c *Core) carryPeer(before []*peer, member *raftpb.Member) *peer {
	for _, p := range before {
		if p.id == member.ReplicaID && (member.Incarnation == 0 || p.incarnation == 0 || p.incarnation == member.Incarnation) {
			p.kind, p.promoting = member.Kind, promoted(member.Goal)
			if member.Incarnation != 0 {
				p.incarnation = member.Incarnation
			}
			return p
		}
	}
	p := &peer{
		id: member.ReplicaID, kind: member.Kind, incarnation: member.Incarnation, promoting: promoted(member.Goal),
		changed: c.reads.round,
	}
	if c.role == RoleLeader {
		c.beginFollower(p)
		c.sendDue = true
	}
	return p
}

// committedConfigs acts on memberships that became committed: a leader that is no voter any more steps down, and members
// that are gone are told (R18).
func (c *Core) committedConfigs(now Instant, before uint64) {
	newest := c.committedConfig()
	if newest.Index <= before {
		return
	}
	for i := range c.configs {
		if config := &c.configs[i]; config.Index > before && config.Index <= newest.Index {
			c.endChangeWaits(&config.Membership, false)
		}
	}
	if c.role == RoleLeader {
		c.tellRemoved(newest)
		if !c.selfVotes() && c.configs[len(c.configs)-1].Index == newest.Index {
			c.sayFarewell(now)
			c.becomeFollower(now, c.term)
		}
	}
	c.pruneConfigs()
}

// neededOnceMore says that this replica is no voter any more by a membership that is not known to be committed, and was one before. It may
// be the only one with the whole log: those that vote by that membership then need it as a leader, who counts neither its own
// vote nor its own log, until the membership is committed (thesis 4.2.2). Without that, a leader that was cut off right after it had
// appended its own removal, and a follower that lacks it, would refuse each other for ever.
func (c *Core) neededOnceMore() bool {
	newest, committed := &c.configs[len(c.configs)-1], &c.committedConfig().Membership
	return newest.Index > c.commit && c.votesIn(incoming, committed.Members)|c.votesIn(outgoing, committed.Outgoing) != 0
}

// committedConfig returns the newest committed membership.
func (c *Core) committedConfig() *raftpb.ConfigRecord {
	i := len(c.configs) - 1
	for i > 0 && c.configs[i].Index > c.commit {
		i--
	}
	return &c.configs[i]
}

// pruneConfigs keeps the newest committed membership and all above.
func (c *Core) pruneConfigs() {
	for len(c.configs) > 1 && c.configs[1].Index <= c.commit {
		c.configs = append([]raftpb.ConfigRecord(nil), c.configs[1:]...)
	}
}

// tellRemoved tells the members of the previous membership that are not in this one. It is a courtesy: who misses it
// learns it when it campaigns.
func (c *Core) tellRemoved(newest *raftpb.ConfigRecord) {
	for i := range c.configs {
		if c.configs[i].Index >= newest.Index {
			return
		}
		for member := range everyMember(&c.configs[i].Membership) {
			if member.ReplicaID == c.options.ReplicaID || memberOf(&newest.Membership, member.ReplicaID) != nil {
				continue
			}
			c.post(c.removed(newest, &peer{id: member.ReplicaID, incarnation: member.Incarnation}))
		}
	}
}

func (c *Core) removed(config *raftpb.ConfigRecord, p *peer) raftpb.Message {
	m := c.message(raftpb.MessageRemoved, p)
	m.Payload = raftpb.EncodeMembership(config.Membership)
	return m
}

// sayRemoved answers a candidate, or a replica that asks what it is, that the committed membership does not have: only
// such a membership is proof (R18).
func (c *Core) sayRemoved(m *raftpb.Message, p *peer) bool {
	if p != nil {
		return false
	}
	config := c.committedConfig()
	if config.Index == 0 || memberOf(&config.Membership, m.From) != nil || memberOf(c.membership, m.From) != nil {
		return false
	}
	c.post(c.removed(config, &peer{id: m.From, incarnation: m.FromIncarnation, session: m.FromSession}))
	return true
}

// sayRemovedToStranger tells who takes this replica for another incarnation, and is no member, that it was removed. It is from a former life of the
// shard, which was rebuilt from a snapshot with other incarnations (R15): of those nobody would ever answer it, and it would look for others of that life.
func (c *Core) sayRemovedToStranger(m *raftpb.Message) {
	if c.role >= RoleBootstrapping || !c.addressed(m) || m.ToIncarnation == 0 || m.ToIncarnation == c.bootstrap.Incarnation {
		return
	}
	switch m.Type {
	case raftpb.MessagePreVote, raftpb.MessageVote, raftpb.MessageReplicate, raftpb.MessageProbe, raftpb.MessageHeartbeat, raftpb.MessageHeal:
		c.sayRemoved(m, c.peer(m.From))
	}
}

// RebuiltTerms lies between the terms of a shard and those of the one that is rebuilt in its place, from a snapshot or a survivor: no entry of one has
// term and index of one of the other, a replica of the former one does not win an election of the new one by its term, and it is known by its
// term what is said by the new one. Elections do not make so many terms.
const RebuiltTerms = 1 << 20

// handleRemoved obeys a committed membership without this replica, if it is newer than the one that added it: it has a higher number, or it is of
// a shard that was rebuilt since, in which numbers begin again somewhere before.
func (c *Core) handleRemoved(_ Instant, m *raftpb.Message, _ *peer) {
	membership, err := raftpb.DecodeMembership(m.Payload)
	unproven := m.ToIncarnation == 0 && c.addedAt == 0 && c.log.last == 0 // it may speak of a former one under this ID
	older := membership.ID <= c.addedAt && (c.term == 0 || m.Term < c.term+RebuiltTerms)
	if err != nil || unproven || c.heal.removed || older || memberOf(&membership, c.options.ReplicaID) != nil {
		c.dropped++
		return
	}
	c.endChangeWaits(&membership, true)
	c.abstain()
	c.heal.asks, c.heal.removed, c.heartbeatAt = false, true, Never
	c.events[len(c.events)-1] = Event{Kind: EventRemoved, Term: c.term, Replica: m.From, ID: membership.ID}
}
