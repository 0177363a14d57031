package raft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-raft/flotilla/raftpb"
)

func init() {
	scriptCommands["change"] = func(s *script) {
		core := s.node().core
		s.reason(core.ChangeMembers(s.n.now, s.changeID(), s.wanted(core.Membership())))
	}
	scriptCommands["cancel"] = func(s *script) { s.reason(s.node().core.CancelChange(s.n.now, s.changeID())) }
}

// ids reads 1/2/3.
func (s *script) ids(key string) []uint64 {
	var all []uint64
	for _, field := range strings.Split(s.text(key), "/") {
		var id uint64
		if _, err := fmt.Sscan(field, &id); err == nil {
			all = append(all, id)
		}
	}
	return all
}

// changeID is id=, or a number of its own from 1000 on.
func (s *script) changeID() uint64 {
	if s.d.HasArg("id") {
		return s.number("id")
	}
	s.n.changeSequence++
	return 1000 + s.n.changeSequence
}

// wanted reads what the members are to be in the end, voters=1/2/3 learners=4 witnesses=5 (who is not named leaves, and
// without any of the three everybody stays what it is), and what else is to be done: remove=9, address=2 (to host-2), priority=2:1,
// promote=1 to=witness; if=5 is the guard.
func (s *script) wanted(m *raftpb.Membership) raftpb.MembershipChange {
	change := raftpb.MembershipChange{IfID: s.number("if")}
	if s.d.HasArg("voters") || s.d.HasArg("learners") || s.d.HasArg("witnesses") {
		change.Members = s.target(m)
	}
	for _, id := range s.ids("remove") {
		change.Members = append(change.Members, raftpb.MemberChange{ReplicaID: id})
	}
	for _, id := range s.ids("address") {
		change.Members = append(change.Members, raftpb.MemberChange{
			ReplicaID: id, Kind: memberOf(m, id).Kind, Address: fmt.Sprintf("host-%d", id),
		})
	}
	if s.d.HasArg("priority") {
		var id, priority uint64
		if _, err := fmt.Sscanf(s.text("priority"), "%d:%d", &id, &priority); err != nil {
			s.t.Fatalf("%s: %v", s.d.Pos, err)
		}
		change.Members = append(change.Members, raftpb.MemberChange{
			ReplicaID: id, Kind: memberOf(m, id).Kind, Priority: raftpb.Priority(priority),
		})
	}
	return change
}

// target is the change that leads from m to the members that are named.
func (s *script) target(m *raftpb.Membership) []raftpb.MemberChange {
	var changes []raftpb.MemberChange
	kept := map[uint64]bool{}
	for _, each := range []struct {
		key  string
		kind raftpb.MemberKind
	}{{"voters", raftpb.Voter}, {"learners", raftpb.Learner}, {"witnesses", raftpb.Witness}} {
		for _, id := range s.ids(each.key) {
			kept[id] = true
			if member := memberOf(m, id); member == nil || member.Kind != each.kind {
				changes = append(changes, raftpb.MemberChange{ReplicaID: id, Kind: each.kind})
			}
		}
	}
	for i := range m.Members {
		if id := m.Members[i].ReplicaID; !kept[id] {
			changes = append(changes, raftpb.MemberChange{ReplicaID: id})
		}
	}
	return changes
}

// describeMembership is one line: voters=1,2,3 learners=4 goals=4:voter outgoing=1,2.
func describeMembership(m *raftpb.Membership) string {
	text := "voters=" + members(m, raftpb.Voter)
	for kind, name := range map[raftpb.MemberKind]string{raftpb.Learner: " learners="} {
		if named := members(m, kind); named != "none" {
			text += name + named
		}
	}
	if witnesses := members(m, raftpb.Witness); witnesses != "none" {
		text += " witnesses=" + witnesses
	}
	if goals := goals(m); goals != "none" {
		text += " goals=" + goals
	}
	if m.Joint() {
		text += " outgoing=" + outgoingVoters(m)
	}
	return text
}

// goals are those of all members that have one: 3:removed,4:voter.
func goals(m *raftpb.Membership) string {
	return listOf(m, func(member *raftpb.Member) string {
		if member.Goal == raftpb.GoalStay {
			return ""
		}
		return fmt.Sprintf("%d:%s", member.ReplicaID, member.Goal)
	})
}

func addresses(m *raftpb.Membership) string {
	return listOf(m, func(member *raftpb.Member) string {
		if member.Address == "" {
			return ""
		}
		return fmt.Sprintf("%d:%s", member.ReplicaID, member.Address)
	})
}

func priorities(m *raftpb.Membership) string {
	return listOf(m, func(member *raftpb.Member) string {
		if member.Priority == raftpb.PriorityDefault {
			return ""
		}
		return fmt.Sprintf("%d:%d", member.ReplicaID, member.Priority)
	})
}

// listOf joins what is said of each member; "none" if nothing is.
func listOf(m *raftpb.Membership, say func(*raftpb.Member) string) string {
	var all []string
	for i := range m.Members {
		if text := say(&m.Members[i]); text != "" {
			all = append(all, text)
		}
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ",")
}

// outgoingVoters are the voters of the configuration that is left, "none" if the membership is not joint.
func outgoingVoters(m *raftpb.Membership) string {
	return members(&raftpb.Membership{Members: m.Outgoing}, raftpb.Voter)
}

// overlap says that no two disjoint sets of voters are quorums, one by the first membership and the other by the second. A voter
// whose incarnation changed is another one, unless it was not known before.
func overlap(from, to *raftpb.Membership) bool {
	voters := votersOf(from, nil)
	voters = votersOf(to, voters)
	for set := range 1 << len(voters) {
		if isQuorum(from, voters, set) && isQuorum(to, voters, ^set) {
			return false
		}
	}
	return true
}

type voterIdentity struct{ id, incarnation uint64 }

func votersOf(m *raftpb.Membership, voters []voterIdentity) []voterIdentity {
	for _, members := range [][]raftpb.Member{m.Members, m.Outgoing} {
		for _, member := range members {
			if member.Kind != raftpb.Learner && positionOf(voters, member) < 0 {
				voters = append(voters, voterIdentity{member.ReplicaID, member.Incarnation})
			}
		}
	}
	return voters
}

// positionOf finds a voter; one whose incarnation was not known before is the same.
func positionOf(voters []voterIdentity, member raftpb.Member) int {
	return slices.IndexFunc(voters, func(v voterIdentity) bool {
		return v.id == member.ReplicaID &&
			(v.incarnation == member.Incarnation || v.incarnation == 0 || member.Incarnation == 0)
	})
}

func isQuorum(m *raftpb.Membership, voters []voterIdentity, set int) bool {
	for _, members := range [][]raftpb.Member{m.Members, m.Outgoing} {
		count, in := 0, 0
		for _, member := range members {
			if member.Kind == raftpb.Learner {
				continue
			}
			count++
			if set&(1<<positionOf(voters, member)) != 0 {
				in++
			}
		}
		if len(members) > 0 && in <= count/2 {
			return false
		}
	}
	return true
}

// faultOfChange holds memberships that follow each other in a log of leaders that keep to the protocol.
func faultOfChange(c *Core) string {
	for i := range c.configs {
		m := &c.configs[i].Membership
		if i > 0 && !overlap(&c.configs[i-1].Membership, m) {
			return fmt.Sprintf("membership %d (%s) and %d (%s) have disjoint quorums", c.configs[i-1].Index,
				describeMembership(&c.configs[i-1].Membership), m.ID, describeMembership(m))
		}
		switch {
		case i > 1 && c.configs[i-1].Index > c.commit && c.role == RoleLeader && m.ID >= c.termStart: // of an earlier leader's it may not know
			return fmt.Sprintf("leader %d has appended membership %d before %d was committed", c.options.ReplicaID,
				m.ID, c.configs[i-1].Index)
		case m.Joint() && goals(m) != "none":
			return fmt.Sprintf("membership %d is joint and has goals: %s", m.ID, describeMembership(m))
		case m.ID > 0 && members(m, raftpb.Voter) == "none" || m.Joint() && outgoingVoters(m) == "none":
			return fmt.Sprintf("membership %d has no voters: %s", m.ID, describeMembership(m))
		case m.ID > 0 && m.Operation > m.ID:
			return fmt.Sprintf("membership %d belongs to operation %d", m.ID, m.Operation)
		}
	}
	return ""
}
