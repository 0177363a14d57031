package raft

import (
	"slices"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Healing brings a replica back that lost what its incarnation had promised (R14 to R16). It takes four steps, each of which may be
// repeated, lost or overtaken:
//
//  1. The replica abstains and asks every member that it knows of, at the pace of heartbeats, to be known by a fresh incarnation.
//  2. The leader answers the first request with a number, so that a request of a life that is over moves nothing, and the one
//     that brings the number back with a membership in which the replica is a learner of the new incarnation, with the goal of what
//     it was. From the append on the lost one votes no more; from then on it is an operation as any other.
//  3. Once that is committed, and no sooner, the leader addresses the replica by the new incarnation. What the lost one still holds may
//     be what a quorum needs, so it is thrown away only now: the core reports EventHealed and says nothing any more; its owner
//     removes the stored state and the record of promises and starts it anew under that incarnation.
//  4. It is caught up and promoted like any learner.
//
// Where those that lost their state leave no quorum nobody leads, so nobody throws anything away, and requests are refused with
// ReasonLost.

// healState is a replica's own way back.
type healState struct {
	asks    bool // it lost what it had promised, and asks to be healed
	doubts  bool // it is to be rebuilt, and does what it promised until then; see Repair
	removed bool // it was told that it is no member: nobody heals it
	done    bool // the shard knows it by the new incarnation; its owner starts it anew

	leader, session, number uint64 // the leader that is known to lead, and the number that it wants to see again

	promised Promised // what a leader has shown to be lost, or Lost of one that doubts itself; zero if it was found here
	dataLost bool     // those that lost their state leave no quorum
}

// healRequest is what a member knows of another one that asks to be healed.
type healRequest struct {
	asked   bool
	at      Instant // when it asked last
	session uint64
	number  uint64 // leader: what the request has to bring back
}

// abstain makes the replica silent: it neither votes nor acknowledges nor campaigns until it is healed (R14 to R16).
func (c *Core) abstain() {
	c.leaveRole()
	c.setLeader(0, 0, 0)
	c.endPending(raftpb.ReasonNotLeader) // what is committed is handed over no more
	c.refuseChangeWaits(raftpb.ReasonNotLeader)
	c.role = RoleAbstaining
	c.pull, c.heal.doubts = pullState{}, false
	c.electionAt, c.heartbeatAt, c.checkAt, c.retryAt = Never, Never, Never, Never
	c.outbox = c.outbox[:0]
	c.ack, c.beat = acknowledgement{}, heartbeatAnswer{}
	c.installing = false
	c.event(Event{Kind: EventAbstaining, Replica: c.options.ReplicaID})
	c.beginHealing()
}

func (c *Core) beginHealing() {
	if c.heal.asks || c.options.DisableHealing || c.options.NextIncarnation == 0 {
		return
	}
	c.heal.asks = true
	c.heartbeatAt = c.nextHeartbeat(c.now)
}

// askToBeHealed asks everybody, since it is not known who leads.
func (c *Core) askToBeHealed(now Instant) {
	c.heartbeatAt = c.nextHeartbeat(now)
	leader := c.heal.leader
	for _, p := range c.peers {
		c.askOne(p.id)
		if p.id == leader {
			leader = 0
		}
	}
	if leader != 0 {
		c.askOne(leader)
	}
	c.judgeLosses(now)
}

// askOne addresses nobody by incarnation or session, for what is known here of others may be old, but for the leader that told it
// a number.
func (c *Core) askOne(id uint64) {
	m := c.message(raftpb.MessageHeal, &peer{id: id})
	m.HintIndex, m.Reason = c.options.NextIncarnation, raftpb.ReasonLost
	if c.role != RoleAbstaining {
		m.Reason = raftpb.ReasonNotMember // it has lost nothing if the leader knows it by the incarnation that it is
	}
	if id == c.heal.leader {
		m.ToSession, m.Request = c.heal.session, c.heal.number
	}
	c.post(m)
}

// strayed finds what a leader says to another incarnation of this replica: either it is for one that is asked for, which ends
// the healing, or the shard knows an incarnation that this replica is not. One with a log does not believe the latter, such
// messages may be late ones to its former self; but while it has no leader it asks. It may have come back from a crash as what it was,
// when it was healed already: then nobody ever speaks to it. A leader that knows it drops the question. Whatever a leader says to
// one that asks to be healed tells whom to ask: it may know of no member by itself.
func (c *Core) strayed(m *raftpb.Message) bool {
	own := m.ToIncarnation == 0 || m.ToIncarnation == c.bootstrap.Incarnation
	if own && (c.role != RoleAbstaining || !c.heal.asks) {
		return false
	}
	switch m.Type {
	case raftpb.MessageReplicate, raftpb.MessageHeartbeat, raftpb.MessageProbe:
	case raftpb.MessagePreVote, raftpb.MessageVote:
		// Where those that lost their state leave no quorum there is no leader to say it, and whoever was added later is none that an
		// initial member would ask. Without this all initial members on empty disks begin the shard a second time beside it.
		if c.role != RoleBootstrapping {
			return false
		}
		c.abstain()
		return true
	default:
		return false
	}
	switch {
	case c.role == RoleStopped || c.heal.done:
		return false
	case (c.heal.asks || c.heal.doubts) && m.ToIncarnation == c.options.NextIncarnation:
		c.healed()
		return true
	case c.role == RoleBootstrapping:
		c.abstain()
	case c.role == RoleFollower && c.log.last == 0 || c.role <= RoleCandidate && c.leader == 0:
		c.beginHealing()
	case c.role != RoleAbstaining:
		return false
	}
	if c.heal.leader != m.From || c.heal.session != m.FromSession {
		c.heal.leader, c.heal.session, c.heal.number = m.From, m.FromSession, 0
	}
	return !own
}

// healed is the end of a core whose replica is known by its next incarnation.
func (c *Core) healed() {
	if c.role != RoleAbstaining {
		c.abstain()
	}
	c.heal.done, c.heal.asks, c.heal.doubts = true, false, false
	c.heartbeatAt = Never
	c.outbox = c.outbox[:0]
	c.event(Event{Kind: EventHealed, Replica: c.options.ReplicaID, ID: c.options.NextIncarnation})
}

// handleHealResponse takes a number, to be brought back at once, or, in a follower, the proof that it lost what it had acknowledged
// to this very leader: an entry that it has not.
func (c *Core) handleHealResponse(now Instant, m *raftpb.Message, _ *peer) {
	switch {
	case m.Reason == raftpb.ReasonNotReady && (c.heal.asks || c.heal.doubts) && m.HintIndex != 0 && m.HintIndex < maxNumber:
		c.heal.leader, c.heal.session, c.heal.number = m.From, m.FromSession, m.HintIndex
		if c.heal.asks {
			c.askOne(m.From)
		} else {
			c.askForRepair(now)
		}
	case m.Reason == raftpb.ReasonLost && c.role == RoleFollower && m.From == c.leader && m.FromSession == c.leaderSession &&
		m.Term == c.term && m.LogIndex > c.log.compacted() && !c.log.holds(m.LogIndex, m.LogTerm):
		c.heal.promised = Promised{VoteTerm: c.term, Term: m.LogTerm, Index: m.LogIndex}
		c.abstain()
	default:
		c.dropped++
	}
}

// handleHeal notes, in a replica that does not lead, that a member says that it lost its state.
func (c *Core) handleHeal(now Instant, m *raftpb.Message, _ *peer) {
	if m.Reason == raftpb.ReasonDamaged {
		c.dropped++ // for a leader: it has lost nothing
		return
	}
	if c.lossOf(now, m) != nil {
		c.judgeLosses(now)
	}
}

// lossOf returns the member that says that it lost its state; nil if the sender is no member, or what it asks for is done.
func (c *Core) lossOf(now Instant, m *raftpb.Message) *peer {
	p := c.peer(m.From)
	if p == nil {
		if !c.sayRemoved(m, nil) {
			c.dropped++
		}
		return nil
	}
	known := m.FromIncarnation == p.incarnation || p.incarnation == 0
	if m.HintIndex == 0 || m.HintIndex == p.incarnation || m.HintIndex == m.FromIncarnation || known && m.Reason != raftpb.ReasonLost {
		c.dropped++
		return nil
	}
	if p.heal.session != m.FromSession {
		p.heal = healRequest{session: m.FromSession}
	}
	p.heal.asked, p.heal.at = true, now
	return p
}

// healMember is step 2. A request that does not bring back the number of this leader and of its own session may be older than the
// present incarnation, and would take a healthy voter's vote away.
func (c *Core) healMember(now Instant, m *raftpb.Message, sender *peer) {
	if m.Reason == raftpb.ReasonDamaged {
		c.repairMember(now, m, sender)
		return
	}
	p := c.lossOf(now, m)
	if p == nil || c.options.DisableHealing || !c.expectsNumber(m, p) {
		return
	}
	if m.FromIncarnation == p.incarnation {
		c.followerLost(p)
	}
	if c.refusesHealing() {
		return // it asks again
	}
	p.heal = healRequest{}
	c.appendOwn(now, raftpb.NewMembership(c.options.ShardID, healedMembership(c.membership, m.From, m.HintIndex)))
}

// expectsNumber says that a request brings back its number. If not it is told the number.
func (c *Core) expectsNumber(m *raftpb.Message, p *peer) bool {
	if p.heal.number == 0 {
		c.request++
		p.heal.number = c.request
	}
	if m.Request == p.heal.number && m.ToSession == c.options.Session {
		return true
	}
	c.answer(m, raftpb.MessageHealResponse, raftpb.ReasonNotReady).HintIndex = p.heal.number
	return false
}

// refusesHealing holds what holds for every change of the membership (R17). While two configurations are in effect their change is
// finished first.
func (c *Core) refusesHealing() bool {
	return c.unfit() || c.transfer.leader.active || c.membership.Joint() || c.commit < c.termStart ||
		c.configs[len(c.configs)-1].Index > c.commit
}

// healedMembership is a membership in which a member is known by another incarnation from now on. It keeps no vote: what it promised
// is forgotten. A change under way goes on with it; without one this begins one.
func healedMembership(from *raftpb.Membership, id, incarnation uint64) raftpb.Membership {
	m := raftpb.Membership{Members: slices.Clone(from.Members), Operation: raftpb.OperationSelf}
	for i := range m.Members {
		if m.Members[i].Goal != raftpb.GoalStay {
			m.Operation = from.Operation
		}
	}
	member := memberOf(&m, id)
	switch {
	case member.Goal == raftpb.GoalLearner:
		member.Goal = raftpb.GoalStay
	case member.Goal == raftpb.GoalStay && member.Kind == raftpb.Voter:
		member.Goal = raftpb.GoalVoter
	case member.Goal == raftpb.GoalStay && member.Kind == raftpb.Witness:
		member.Goal = raftpb.GoalWitness
	}
	if member.Kind != raftpb.Learner {
		member.Healed = member.Kind
	}
	member.Kind, member.Incarnation = raftpb.Learner, incarnation
	return m
}

// tellLost tells a follower that its new session has less than its incarnation had acknowledged, and the entry that proves it.
func (c *Core) tellLost(p *peer) {
	if !p.lost || c.options.DisableHealing || p.acked.Index == 0 {
		return
	}
	m := c.message(raftpb.MessageHealResponse, p)
	m.Reason, m.LogIndex, m.LogTerm = raftpb.ReasonLost, p.acked.Index, p.acked.Term
	c.post(m)
}

// unhealed says that the member replaces a lost incarnation by a membership that is not committed yet: it is not to be addressed, since
// it would throw away what it has.
func (c *Core) unhealed(p *peer) bool { return p.after > c.commit }

// replacedAt returns the entry that made a lost incarnation of a member this one, as far as it may not be committed; else 0. A learner whose
// incarnation is new in the membership may have been healed too, before it was known by any; nobody needs it for that entry's commit.
func (c *Core) replacedAt(member *raftpb.Member) uint64 {
	for i := len(c.configs) - 1; i > 0; i-- {
		before := memberOf(&c.configs[i-1].Membership, member.ReplicaID)
		if before == nil || before.Incarnation == 0 && member.Kind != raftpb.Learner {
			return 0
		}
		if before.Incarnation != member.Incarnation {
			return c.configs[i].Index
		}
	}
	return 0
}

// lossTimeouts is for how many election timeouts a member counts as lost after it said so. It says so ten times in each by default.
const lossTimeouts = 3

// saysLost says that a member lost its state, as it said lately.
func (c *Core) saysLost(id uint64, now Instant) bool {
	if id == c.options.ReplicaID {
		return c.role == RoleAbstaining
	}
	p := c.peer(id)
	return p != nil && p.heal.asked && now < p.heal.at+lossTimeouts*c.electionTimeout()
}

// judgeLosses finds out whether those that said that they lost their state leave no quorum. A member that is merely silent may come
// back with everything, so it is counted among those that are left.
func (c *Core) judgeLosses(now Instant) {
	lost := c.leader == 0 && (c.noneLeft(c.membership.Members, now) || c.noneLeft(c.membership.Outgoing, now) || c.onlyWitnessHas(now))
	if lost && !c.heal.dataLost {
		c.event(Event{Kind: EventDataLost})
	}
	c.heal.dataLost = lost
}

func (c *Core) noneLeft(members []raftpb.Member, now Instant) bool {
	voters, left := 0, 0
	for i := range members {
		if members[i].Kind == raftpb.Learner {
			continue
		}
		voters++
		if !c.saysLost(members[i].ReplicaID, now) {
			left++
		}
	}
	return voters > 0 && left <= voters/2
}

// leaderless says why a request finds no leader.
func (c *Core) leaderless() raftpb.Reason {
	if c.heal.dataLost {
		return raftpb.ReasonLost
	}
	return raftpb.ReasonNotLeader
}
