package raft

import (
	"slices"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// A change of the membership is an operation whose intent is in the log, so that whoever leads can finish it:
//
//	ChangeMembers ──┬── somebody is to be promoted ── intent: new members as learners, goals ── all caught up ──┐
//	                │                                                                                          │
//	                └── nobody ────────────────────────────────────────────────────────────────────────────────┤
//	                                                                                                           │
//	   done ◄── the target, plain ◄── one voter differs at most (thesis 4.1) ──────────────────────────────────┤
//	   done ◄── the target, plain ◄── committed ◄── joint: target and present configuration (thesis 4.3) ◄─────┘
//
// Each arrow appends one membership entry, by whoever leads then, after the one before is committed and with an entry of
// the leader's own term committed (continueChange); two memberships that follow each other share a quorum in each electorate.
// All entries of an operation carry its ID, the index of the first.

// ChangeMembers makes members what the change says, all of them at once. It ends with EventMembersChanged, when the last
// entry of the operation is known to be committed here, or with a Refusal, both under id. A follower passes it on. Reasons
// and refusals: ReasonPendingChange while another operation is under way, ReasonNotReady while the present membership or the
// first entry of the term is not committed, ReasonStaleChange if change.IfID is not the ID of the present membership,
// ReasonNotMember if a replica is to be removed that is none, ReasonInvalidChange if it leads to no possible
// membership: no voters, only witnesses, a replica named twice, a witness that is to hold data or the other way
// round: it is removed, and added as what it is to be. A Refusal is MaybeApplied when the leader is lost on the way: the next one goes on
// with the operation if it has its first entry. Addresses and priorities of present members change with the first entry.
func (c *Core) ChangeMembers(now Instant, id uint64, change raftpb.MembershipChange) raftpb.Reason {
	if len(change.Members) == 0 {
		return raftpb.ReasonInvalidChange
	}
	return c.requestChange(now, id, change)
}

// CancelChange ends the operation under way, before it has come to its joint membership or its last one: those that it added are
// removed, the others stay what they are. The operation's own waiters are refused with ReasonCanceled. It ends as
// ChangeMembers does; ReasonInvalidChange says that nothing is under way that could be canceled. Voters that lost their state and
// are being healed get their votes back, and it ends after that; canceled once more, or where nothing else is under way, they stay learners.
func (c *Core) CancelChange(now Instant, id uint64) raftpb.Reason {
	return c.requestChange(now, id, raftpb.MembershipChange{})
}

// requestChange begins a change here or passes it on. On its way a change without members stands for a cancellation.
func (c *Core) requestChange(now Instant, id uint64, change raftpb.MembershipChange) raftpb.Reason {
	c.now = now
	switch {
	case c.role == RoleStopped:
		return raftpb.ReasonStopped
	case !sendable(change):
		return raftpb.ReasonInvalidChange
	case c.leader == 0:
		return raftpb.ReasonNotLeader
	case len(c.changes.waits) >= maxChangeWaits:
		return raftpb.ReasonBusy
	}
	wait := changeWait{id: id, deadline: Never}
	if c.role == RoleLeader {
		operation, reason := c.beginChange(change)
		if reason != raftpb.ReasonNone {
			return reason
		}
		wait.operation = operation
	} else if !c.introduced() {
		return raftpb.ReasonNotReady
	} else {
		c.request++
		m := c.toLeader(raftpb.MessageChangeMembers)
		m.Request, m.Payload = c.request, raftpb.AppendMembershipChange(nil, change)
		c.post(m)
		wait.request, wait.deadline = c.request, now+forwardPatience*c.electionTimeout()
	}
	c.changes.waits = append(c.changes.waits, wait)
	return raftpb.ReasonNone
}

// sendable says that a change can travel: its receiver would drop what it cannot decode, and the caller would never know why.
func sendable(change raftpb.MembershipChange) bool {
	_, err := raftpb.DecodeMembershipChange(raftpb.AppendMembershipChange(nil, change))
	return err == nil
}

// beginChange appends the first entry of an operation and returns its ID.
func (c *Core) beginChange(change raftpb.MembershipChange) (operation uint64, reason raftpb.Reason) {
	cancel := len(change.Members) == 0
	switch {
	case c.unfit():
		return 0, raftpb.ReasonFailed
	case c.transfer.leader.active:
		return 0, raftpb.ReasonTransferring
	case !c.ownTermCommitted(): // what its predecessors had begun may be done, and is not known to be
		return 0, raftpb.ReasonNotReady
	case !cancel && c.operationPending():
		return 0, raftpb.ReasonPendingChange
	case !c.mayChange():
		return 0, raftpb.ReasonNotReady
	case change.IfID != 0 && change.IfID != c.membership.ID:
		return 0, raftpb.ReasonStaleChange
	}
	var next raftpb.Membership
	if cancel {
		next, reason = canceled(c.membership)
	} else {
		next, reason = planChange(c.membership, change.Members)
	}
	if reason != raftpb.ReasonNone {
		return 0, reason
	}
	if !cancel && !c.canDecide(&next) {
		return 0, raftpb.ReasonNotReady
	}
	next.Operation = raftpb.OperationSelf
	c.appendMembership(next)
	return c.log.last, raftpb.ReasonNone
}

// mayChange says that another membership may follow: the present one and an entry of this leader's own term are committed.
// Without the former two changes can be decided by disjoint majorities, without the latter a predecessor's uncommitted one
// and this leader's can (thesis 4.1 and its correction of 2015).
func (c *Core) mayChange() bool { return c.membershipCommitted() && c.ownTermCommitted() }

func (c *Core) membershipCommitted() bool { return c.configs[len(c.configs)-1].Index <= c.commit }

func (c *Core) ownTermCommitted() bool { return c.commit >= c.termStart }

// operationPending says that an operation is under way. One that has reached its target is until that is committed; a
// membership that only records what was learned is none.
func (c *Core) operationPending() bool {
	committed := &c.committedConfig().Membership
	return !finished(c.membership) || !finished(committed) || committed.Operation != c.membership.Operation
}

func (c *Core) appendMembership(m raftpb.Membership) {
	c.appendOwn(c.now, raftpb.NewMembership(c.options.ShardID, m))
}

// finished says that nothing is left to do in the membership's operation.
func finished(m *raftpb.Membership) bool {
	return !m.Joint() && !slices.ContainsFunc(m.Members, func(member raftpb.Member) bool {
		return member.Goal != raftpb.GoalStay
	})
}

// planChange returns the first membership of the operation that makes the changes to m, which is finished.
func planChange(m *raftpb.Membership, changes []raftpb.MemberChange) (raftpb.Membership, raftpb.Reason) {
	target, reason := targetOf(m.Members, changes)
	if reason != raftpb.ReasonNone {
		return raftpb.Membership{}, reason
	}
	next := raftpb.Membership{Members: intentOf(m.Members, target)}
	promotes := slices.ContainsFunc(next.Members, func(member raftpb.Member) bool { return promoted(member.Goal) })
	if !promotes {
		next = switchOver(m, target)
	}
	if next.Validate() != nil || !slices.ContainsFunc(target, func(member raftpb.Member) bool { return member.Kind == raftpb.Voter }) {
		return raftpb.Membership{}, raftpb.ReasonInvalidChange
	}
	return next, raftpb.ReasonNone
}

// targetOf returns what the members are when the changes are done. New ones have no incarnation yet.
func targetOf(present []raftpb.Member, changes []raftpb.MemberChange) ([]raftpb.Member, raftpb.Reason) {
	target := slices.Clone(present)
	for i := range changes {
		change := &changes[i]
		if slices.ContainsFunc(changes[:i], func(other raftpb.MemberChange) bool { return other.ReplicaID == change.ReplicaID }) {
			return nil, raftpb.ReasonInvalidChange
		}
		at, found := slices.BinarySearchFunc(target, change.ReplicaID, byReplicaID)
		switch {
		case change.Kind > raftpb.Witness:
			return nil, raftpb.ReasonInvalidChange
		case change.Kind == 0 && !found:
			return nil, raftpb.ReasonNotMember
		case change.Kind == 0:
			target = slices.Delete(target, at, at+1)
		case !found:
			target = slices.Insert(target, at, raftpb.Member{
				ReplicaID: change.ReplicaID, Kind: change.Kind, Address: change.Address, Priority: change.Priority,
			})
		case (target[at].Kind == raftpb.Witness) != (change.Kind == raftpb.Witness):
			return nil, raftpb.ReasonInvalidChange // a witness has no data, and is sent none that could be missing
		default:
			changeMember(&target[at], change)
		}
	}
	return target, raftpb.ReasonNone
}

func byReplicaID(member raftpb.Member, id uint64) int {
	switch {
	case member.ReplicaID < id:
		return -1
	case member.ReplicaID > id:
		return 1
	}
	return 0
}

func changeMember(member *raftpb.Member, change *raftpb.MemberChange) {
	member.Kind = change.Kind
	if change.Address != "" {
		member.Address = change.Address
	}
	if change.Priority != raftpb.PriorityDefault {
		member.Priority = change.Priority
	}
}

// intentOf is the present configuration with the goals that lead to target: nobody votes yet who did not before, and
// nobody has stopped to.
func intentOf(present, target []raftpb.Member) []raftpb.Member {
	intent := slices.Clone(target)
	for i := range intent {
		member := &intent[i]
		before := findMember(present, member.ReplicaID)
		if before == nil {
			member.Goal, member.Kind, member.Added = goalOf(member.Kind), raftpb.Learner, true
		} else if before.Kind != member.Kind {
			member.Goal, member.Kind = goalOf(member.Kind), before.Kind
		}
		if member.Kind == raftpb.Learner && member.Goal == raftpb.GoalLearner {
			member.Goal = raftpb.GoalStay
		}
	}
	for i := range present {
		if at, found := slices.BinarySearchFunc(intent, present[i].ReplicaID, byReplicaID); !found {
			leaving := present[i]
			leaving.Goal = raftpb.GoalRemoved
			intent = slices.Insert(intent, at, leaving)
		}
	}
	return intent
}

func goalOf(kind raftpb.MemberKind) raftpb.MemberGoal {
	switch kind {
	case raftpb.Voter:
		return raftpb.GoalVoter
	case raftpb.Witness:
		return raftpb.GoalWitness
	}
	return raftpb.GoalLearner
}

// promoted says that a member with the goal has to catch up first.
func promoted(goal raftpb.MemberGoal) bool {
	return goal == raftpb.GoalVoter || goal == raftpb.GoalWitness
}

// reachedGoals is what the members are once every goal is reached.
func reachedGoals(members []raftpb.Member) []raftpb.Member {
	target := make([]raftpb.Member, 0, len(members))
	for _, member := range members {
		switch member.Goal {
		case raftpb.GoalVoter:
			member.Kind = raftpb.Voter
		case raftpb.GoalWitness:
			member.Kind = raftpb.Witness
		case raftpb.GoalLearner:
			member.Kind = raftpb.Learner
		case raftpb.GoalRemoved:
			continue
		}
		target = append(target, member)
	}
	return settled(target)
}

// settled clears what only an operation under way needs.
func settled(members []raftpb.Member) []raftpb.Member {
	members = slices.Clone(members)
	for i := range members {
		members[i].Goal, members[i].Added, members[i].Healed = raftpb.GoalStay, false, 0
	}
	return members
}

// switchOver returns the membership that puts target into effect: plain if at most one voter differs, else joint.
func switchOver(m *raftpb.Membership, target []raftpb.Member) raftpb.Membership {
	next := raftpb.Membership{Members: settled(target), Operation: m.Operation}
	if !singleChange(m, &next) {
		next.Outgoing = settled(m.Members)
	}
	return next
}

// canceled returns the membership that takes an operation back. A voter that was healed meanwhile is to have its vote again, which
// is an operation of its own; if that is all that is under way it is given up, and the member stays a learner.
func canceled(m *raftpb.Membership) (raftpb.Membership, raftpb.Reason) {
	if m.Joint() || finished(m) {
		return raftpb.Membership{}, raftpb.ReasonInvalidChange
	}
	members := slices.DeleteFunc(slices.Clone(m.Members), func(member raftpb.Member) bool { return member.Added })
	for i := range members {
		member := &members[i]
		member.Goal = raftpb.GoalStay
		if member.Healed != 0 {
			member.Goal = goalOf(member.Healed)
		}
	}
	if slices.Equal(members, m.Members) {
		members = settled(members)
	}
	return raftpb.Membership{Members: members}, raftpb.ReasonNone
}
