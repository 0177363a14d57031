package raft

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// A replica that was healed once and came back as an older copy, from before it had heard of any member, abstains and knows nobody to
// ask: it asks the leader that addresses it. Found by the simulator.
func TestLostReplicaThatKnowsNobodyAsksItsLeader(t *testing.T) {
	c, err := New(Instant(time.Second), Options{ShardID: testShard, ReplicaID: 2, Session: 20, Seed: 1, NextIncarnation: 9},
		raftpb.Stored{Bootstrap: raftpb.Bootstrap{Incarnation: 5, Join: true}}, Promised{VoteTerm: 3, Term: 3, Index: 7}, fixedCache{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Role() != RoleAbstaining {
		t.Fatalf("it is a %s", c.Role())
	}
	now := Instant(2 * time.Second)
	c.Step(now, &raftpb.Message{
		Type: raftpb.MessageHeartbeat, ShardID: testShard, From: 1, FromIncarnation: 11, FromSession: 101, To: 2, ToIncarnation: 5, Term: 3, Request: 1,
	})
	c.Tick(now + Instant(time.Second))
	var out Output
	c.Drain(&out)
	for _, m := range out.Messages {
		if m.Type == raftpb.MessageHeal && m.To == 1 && m.HintIndex == 9 {
			return
		}
	}
	t.Errorf("it says %v", out.Messages)
}
