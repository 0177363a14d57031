package raft

import (
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// A shard of replica 1 alone was rebuilt from a snapshot up to entry 5. Who comes back from its former life takes replica 1 for the incarnation that it
// was, or is in a lower term, and is told at once that it was removed: two of them would else find each other.
func TestWhoComesBackFromAFormerLifeIsToldThatItWasRemoved(t *testing.T) {
	const own, former = 11, 99
	rebuilt := func() *Core {
		config := raftpb.ConfigRecord{Index: 5, Membership: raftpb.Membership{ID: 5, Members: []raftpb.Member{
			{ReplicaID: 1, Kind: raftpb.Voter, Incarnation: own}, {ReplicaID: 4, Kind: raftpb.Voter, Incarnation: 14},
		}}}
		stored := raftpb.Stored{
			Bootstrap: raftpb.Bootstrap{Incarnation: own, Complete: true, Initial: config.Membership},
			State:     raftpb.HardState{Term: 1000, Commit: 5}, Compacted: 5, CompactedTerm: 3, Last: 5, Configs: []raftpb.ConfigRecord{config},
		}
		c, err := New(0, Options{ShardID: testShard, ReplicaID: 1, Session: 101, Applied: 5}, stored, Promised{}, fixedCache{})
		if err != nil {
			t.Fatal(err)
		}
		drained(c)
		return c
	}
	for _, test := range []struct {
		what        string
		kind        raftpb.MessageType
		from        uint64
		incarnation uint64 // that it takes replica 1 for
		told        bool
	}{
		{"a pre-vote for the former incarnation", raftpb.MessagePreVote, 2, former, true},
		{"a vote for the former incarnation", raftpb.MessageVote, 2, former, true},
		{"a former leader", raftpb.MessageReplicate, 2, former, true},
		{"a former leader's probe", raftpb.MessageProbe, 2, former, true},
		{"a former leader's heartbeat", raftpb.MessageHeartbeat, 2, former, true},
		{"one that asks to be healed", raftpb.MessageHeal, 2, former, true},
		{"a pre-vote of a lower term", raftpb.MessagePreVote, 2, own, true},
		{"a vote of a lower term", raftpb.MessageVote, 2, own, true},
		{"an answer", raftpb.MessageHeartbeatResponse, 2, former, false},
		{"a member's pre-vote", raftpb.MessagePreVote, 4, former, false},
		{"a member's pre-vote of a lower term", raftpb.MessagePreVote, 4, own, false},
	} {
		c := rebuilt()
		c.Step(1, &raftpb.Message{
			Type: test.kind, ShardID: testShard, From: test.from, FromIncarnation: 10 + test.from, FromSession: 102, To: 1, ToIncarnation: test.incarnation,
			Term: 7, LogIndex: 9, LogTerm: 6,
		})
		checkInvariants(t, c)
		told := false
		for _, m := range drained(c).Messages {
			if m.Type == raftpb.MessageRemoved {
				told = m.To == test.from && m.ToIncarnation == 10+test.from
			}
		}
		if told != test.told {
			t.Errorf("%s: told %v, want %v", test.what, told, test.told)
		}
	}
}
