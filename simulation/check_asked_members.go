package simulation

import (
	"errors"
	"slices"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// changeRequest is a change of members that was asked for, and neither refused nor done. Without members it is a cancellation.
type changeRequest struct{ change raftpb.MembershipChange }

// memberOperation is a change that a leader has begun, with those whose request that may have been.
type memberOperation struct {
	index, term uint64
	asked       []*changeRequest
}

// changeAsked notes a request and returns what its end is to be told to. One whose outcome is unknown may be carried out as long as the
// shard lives.
func (s *shard) changeAsked(change raftpb.MembershipChange) (ended func(error)) {
	request := &changeRequest{change: change}
	s.changeRequests = append(s.changeRequests, request)
	without := func(list []*changeRequest) []*changeRequest {
		return slices.DeleteFunc(list, func(other *changeRequest) bool { return other == request })
	}
	return func(err error) {
		if engine.MaybeApplied(err) {
			return
		}
		s.changeRequests = without(s.changeRequests)
		if err == nil || errors.Is(err, engine.ErrChangeCanceled) {
			return
		}
		s.world.counters.add(countChangeRefused, 1)
		for i := range s.operations {
			o := &s.operations[i]
			had := len(o.asked)
			if o.asked = without(o.asked); had > 0 && len(o.asked) == 0 {
				s.world.violate("outcomes", "shard %d: the change of members %+v was surely not made (%v), but it began with membership %d in term %d",
					s.id, change, err, o.index, o.term)
			}
		}
	}
}

// checkAsked looks at the first membership of a change: somebody has asked for it and was not told that it surely is not made. Healing is
// the leader's own.
func (s *shard) checkAsked(previous, c *configuration) {
	if c.index == 1 || c.membership.Operation != c.index || heals(&previous.membership, &c.membership) {
		return
	}
	o := memberOperation{index: c.index, term: c.term}
	for _, request := range s.changeRequests {
		if request.leadsTo(previous, &c.membership) {
			o.asked = append(o.asked, request)
		}
	}
	if len(o.asked) == 0 {
		s.world.violate("outcomes", "shard %d: membership %d of term %d begins a change that nobody asks for, or of which everybody was told that it surely is not made: %+v after %+v",
			s.id, c.index, c.term, c.membership, previous.membership)
		return
	}
	s.operations = append(s.operations, o)
}

// leadsTo says whether a membership may be the first one of what was asked for.
func (r *changeRequest) leadsTo(previous *configuration, m *raftpb.Membership) bool {
	if len(r.change.Members) == 0 {
		return !slices.ContainsFunc(m.Members, func(member raftpb.Member) bool {
			return member.Goal != raftpb.GoalStay && member.Healed == 0 // who was healed meanwhile is to have its vote again
		})
	}
	if r.change.IfID != 0 && r.change.IfID != previous.membership.ID {
		return false
	}
	wanted := map[uint64]raftpb.MemberKind{} // looked up only
	for i := range r.change.Members {
		wanted[r.change.Members[i].ReplicaID] = r.change.Members[i].Kind
	}
	for id := uint64(1); id <= maxHosts; id++ {
		kind, named := wanted[id]
		if !named {
			kind = kindInTheEnd(&previous.membership, id)
		}
		if kindInTheEnd(m, id) != kind {
			return false
		}
	}
	return true
}

// kindInTheEnd returns what a replica is when all goals are reached, 0 for none.
func kindInTheEnd(m *raftpb.Membership, id uint64) raftpb.MemberKind {
	for i := range m.Members {
		if m.Members[i].ReplicaID != id {
			continue
		}
		switch m.Members[i].Goal {
		case raftpb.GoalVoter:
			return raftpb.Voter
		case raftpb.GoalWitness:
			return raftpb.Witness
		case raftpb.GoalLearner:
			return raftpb.Learner
		case raftpb.GoalRemoved:
			return 0
		}
		return m.Members[i].Kind
	}
	return 0
}

// heals says whether a membership, the first of an operation, knows a replica by another incarnation than the one before, or by one at last: what
// is merely learned begins no operation.
func heals(previous, m *raftpb.Membership) bool {
	for i := range m.Members {
		for j := range previous.Members {
			a, b := &previous.Members[j], &m.Members[i]
			if a.ReplicaID == b.ReplicaID && a.Incarnation != b.Incarnation {
				return true
			}
		}
	}
	return false
}
