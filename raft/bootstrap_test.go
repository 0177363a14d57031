package raft

import (
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// TestFoundStateKnowsIncarnations is a shard whose first leader was lost before its first entry reached anybody. Replica 3
// learned from it who the initial members are, and may be the first leader whose entries stay: they have to record the
// incarnations (R16), or a wiped replica 1 would be taken for its former self.
func TestFoundStateKnowsIncarnations(t *testing.T) {
	n := newNetwork(3, t.Errorf)
	c := n.node(3).core
	known := raftpb.Membership{ID: 1, Members: []raftpb.Member{
		{ReplicaID: 1, Kind: raftpb.Voter, Incarnation: 11}, {ReplicaID: 2, Kind: raftpb.Voter, Incarnation: 12},
		{ReplicaID: 3, Kind: raftpb.Voter, Incarnation: 13},
	}}
	c.Step(n.now, &raftpb.Message{
		Type: raftpb.MessageBootstrapResponse, Reason: raftpb.ReasonNotEmpty, ShardID: testShard, Term: 1,
		From: 1, FromIncarnation: 11, FromSession: n.node(1).session, To: 3, ToIncarnation: 13, ToSession: n.node(3).session,
		Payload: raftpb.EncodeMembership(known),
	})
	if c.Role() != RoleFollower {
		t.Fatalf("role %s", c.Role())
	}
	n.drain(n.node(3))
	for n.save(n.node(3)) {
	}
	for _, stored := range []raftpb.Membership{*c.Membership(), n.node(3).disk.stored.Bootstrap.Initial} {
		for i := range stored.Members {
			if got, want := stored.Members[i].Incarnation, known.Members[i].Incarnation; got != want {
				t.Errorf("replica %d is known as incarnation %d, want %d", stored.Members[i].ReplicaID, got, want)
			}
		}
	}
}

// TestFirstLeaderRecordsWhomItHeard is the same for replicas that the lost leader adopted by its first heartbeat, which says
// nothing of incarnations but the leader's own.
func TestFirstLeaderRecordsWhomItHeard(t *testing.T) {
	n := newNetwork(3, t.Errorf)
	gone := n.node(1)
	n.crash(gone)
	for _, id := range []uint64{2, 3} {
		n.node(id).core.Step(n.now, &raftpb.Message{
			Type: raftpb.MessageHeartbeat, ShardID: testShard, Term: 1, Request: 1, From: 1, FromIncarnation: 11,
			FromSession: gone.session, To: id, ToIncarnation: 10 + id, ToSession: n.node(id).session,
		})
	}
	n.leaders[1] = 1
	n.queue = nil
	n.advance(n.node(2).core.options.ElectionTimeout * 5)
	leader := n.leader()
	if leader == nil || len(n.node(2).disk.stored.Configs) == 0 {
		t.Fatal("no leader")
	}
	for _, member := range n.node(2).disk.stored.Configs[0].Membership.Members {
		if want := 10 + member.ReplicaID; member.Incarnation != want {
			t.Errorf("replica %d is recorded as incarnation %d, want %d", member.ReplicaID, member.Incarnation, want)
		}
	}
}

// TestALateAnswerOfAFormerSelfIsNotTaken: 2 answered, was set up anew, and answered as what it is now, before its former answer arrives. Taken
// for the newest one it would fill the table for good with who is gone.
func TestALateAnswerOfAFormerSelfIsNotTaken(t *testing.T) {
	initial := raftpb.Membership{Members: []raftpb.Member{
		{ReplicaID: 1, Kind: raftpb.Voter, Incarnation: 11}, {ReplicaID: 2, Kind: raftpb.Voter}, {ReplicaID: 3, Kind: raftpb.Voter},
	}}
	stored := raftpb.Stored{Bootstrap: raftpb.Bootstrap{Incarnation: 11, Initial: initial}}
	c, err := New(0, Options{ShardID: testShard, ReplicaID: 1, Session: 101}, stored, Promised{}, fixedCache{})
	if err != nil {
		t.Fatal(err)
	}
	answer := func(from, incarnation, request uint64) {
		c.Step(0, &raftpb.Message{
			Type: raftpb.MessageBootstrapResponse, ShardID: testShard, From: from, FromIncarnation: incarnation, FromSession: incarnation,
			To: 1, ToIncarnation: 11, ToSession: 101, Request: request, Payload: raftpb.EncodeMembership(initial),
		})
	}
	known := func(id, want uint64) {
		t.Helper()
		if got := memberOf(&c.bootstrap.Initial, id).Incarnation; got != want {
			t.Errorf("replica %d is known as incarnation %d, want %d", id, got, want)
		}
	}
	c.askInitialMembers() // 2 requests are on their way
	answer(2, 12, 1)
	c.askInitialMembers()
	answer(2, 112, 3)
	known(2, 112)
	answer(2, 12, 2)
	known(2, 112)
	answer(3, 13, 3) // the table is full
	c.askInitialMembers()
	answer(2, 212, c.asked)
	known(2, 112)
	if c.role != RoleBootstrapping {
		t.Errorf("role %s: nobody has shown the same table", c.role)
	}
}
