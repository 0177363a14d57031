package raft

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// drawMembers draws up to seven members out of nine, in any kind; self is 1, of incarnation 11.
func drawMembers(t *rapid.T, name string) []raftpb.Member {
	ids := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 9), 1, 7, rapid.ID[uint64]).Draw(t, name)
	slices.Sort(ids)
	var members []raftpb.Member
	for _, id := range ids {
		members = append(members, raftpb.Member{
			ReplicaID: id, Kind: raftpb.MemberKind(rapid.IntRange(1, 3).Draw(t, "kind")),
			Incarnation: rapid.SampledFrom([]uint64{0, 10 + id, 10 + id, 10 + id, 90}).Draw(t, "incarnation"),
		})
	}
	return members
}

// coreOf makes a core that has the membership.
func coreOf(m raftpb.Membership) *Core {
	c := &Core{options: Options{ReplicaID: 1}, bootstrap: raftpb.Bootstrap{Incarnation: 11}}
	c.configs = []raftpb.ConfigRecord{{Membership: m}}
	c.useNewestConfig()
	return c
}

// naiveMajority counts by the book: more than half of the voters that a configuration names, each counting for itself only in
// the incarnation that it is in. A witness is named, and what it adds is what it said; this replica as a witness adds nothing,
// since a witness never leads.
func naiveMajority(c *Core, members []raftpb.Member, reached func(id uint64) bool) bool {
	voters, counted := 0, 0
	for _, member := range members {
		if member.Kind == raftpb.Learner {
			continue
		}
		voters++
		present := uint64(11)
		if member.ReplicaID != 1 {
			present = c.peer(member.ReplicaID).incarnation
		} else if member.Kind == raftpb.Witness {
			continue
		}
		if member.Incarnation != 0 && present != 0 && member.Incarnation != present {
			continue
		}
		if reached(member.ReplicaID) {
			counted++
		}
	}
	return 2*counted > voters
}

func TestQuorumOfAgreesWithANaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := raftpb.Membership{Members: drawMembers(t, "members")}
		if rapid.Bool().Draw(t, "joint") {
			m.Outgoing = drawMembers(t, "outgoing")
		}
		c := coreOf(m)
		values := map[uint64]uint64{}
		for id := uint64(1); id <= 9; id++ {
			values[id] = rapid.Uint64Range(0, 12).Draw(t, "value")
		}
		valueOf := func(p *peer) uint64 {
			if p == nil {
				return values[1]
			}
			return values[p.id]
		}
		want := uint64(0)
		for v := uint64(1); v <= 12; v++ {
			reached := func(id uint64) bool { return values[id] >= v }
			has := naiveMajority(c, m.Members, reached) &&
				(!m.Joint() || naiveMajority(c, m.Outgoing, reached))
			if has {
				want = v
			}
			if got := c.quorumHas(func(p *peer) bool { return valueOf(p) >= v }); got != has {
				t.Fatalf("%v: quorumHas at %d: %t, want %t (%v)", m, v, got, has, values)
			}
		}
		if got := c.quorumOf(valueOf); got != want {
			t.Fatalf("%v: %d, want %d (%v)", m, got, want, values)
		}
	})
}

// TestQuorumsOverlap: of two disjoint sets at most one is a quorum, whatever the membership.
func TestQuorumsOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := raftpb.Membership{Members: drawMembers(t, "members")}
		if rapid.Bool().Draw(t, "joint") {
			m.Outgoing = drawMembers(t, "outgoing")
		}
		c := coreOf(m)
		var side [10]bool
		for id := range side {
			side[id] = rapid.Bool().Draw(t, "side")
		}
		sideOf := func(p *peer) bool {
			if p == nil {
				return side[1]
			}
			return side[p.id]
		}
		if c.quorumHas(sideOf) && c.quorumHas(func(p *peer) bool { return !sideOf(p) }) {
			t.Fatalf("%v: both %v and the rest are quorums", m, side)
		}
	})
}

// TestTallyAgreesWithANaiveModel: won when the grants are a quorum, lost when all that have not denied are none.
func TestTallyAgreesWithANaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := raftpb.Membership{Members: drawMembers(t, "members")}
		if rapid.Bool().Draw(t, "joint") {
			m.Outgoing = drawMembers(t, "outgoing")
		}
		c := coreOf(m)
		ballots := map[uint64]ballot{}
		for _, p := range c.peers {
			p.ballot = ballot(rapid.IntRange(0, 2).Draw(t, "ballot"))
			ballots[p.id] = p.ballot
		}
		own := rapid.Bool().Draw(t, "own")
		majority := func(reached func(id uint64) bool) bool {
			return naiveMajority(c, m.Members, reached) &&
				(!m.Joint() || naiveMajority(c, m.Outgoing, reached))
		}
		want := ballotOpen
		if majority(func(id uint64) bool { return id == 1 && own || ballots[id] == ballotGranted }) {
			want = ballotGranted
		} else if !majority(func(id uint64) bool { return ballots[id] != ballotDenied }) {
			want = ballotDenied
		}
		if got := c.tally(own); got != want {
			t.Fatalf("%v: %d, want %d (own %t, %v)", m, got, want, own, ballots)
		}
	})
}

func TestEveryMemberYieldsEachMemberOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := raftpb.Membership{Members: drawMembers(t, "members")}
		if rapid.Bool().Draw(t, "joint") {
			m.Outgoing = drawMembers(t, "outgoing")
		}
		want := map[uint64]raftpb.Member{}
		for _, member := range m.Outgoing {
			want[member.ReplicaID] = member
		}
		for _, member := range m.Members {
			want[member.ReplicaID] = member
		}
		previous := uint64(0)
		for member := range everyMember(&m) {
			if member.ReplicaID <= previous || *member != want[member.ReplicaID] || *memberOf(&m, member.ReplicaID) != *member {
				t.Fatalf("%v: %v after %d", m, *member, previous)
			}
			previous = member.ReplicaID
			delete(want, previous)
		}
		if len(want) > 0 {
			t.Fatalf("%v: %v left out", m, want)
		}
	})
}

func TestQuorumArithmeticDoesNotAllocate(t *testing.T) {
	m := raftpb.Membership{}
	for id := uint64(1); id <= 5; id++ {
		m.Members = append(m.Members, raftpb.Member{ReplicaID: id, Kind: raftpb.Voter})
		m.Outgoing = append(m.Outgoing, raftpb.Member{ReplicaID: 3 + id, Kind: raftpb.Voter})
	}
	c := coreOf(m)
	allocations := testing.AllocsPerRun(100, func() {
		c.quorumMatch()
		c.quorumRound()
		c.heardByQuorum(5)
		c.tally(true)
		c.alone()
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}
