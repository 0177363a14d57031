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

// Memberships of a rebuilt shard are numbered from where it begins again, which may be before the one that a former member knows. That it is told by
// a shard that was rebuilt shows in the term. In a term that the same shard may come to, an older number is an old removal.
func TestAFormerMemberObeysARebuiltShardWhateverItsNumbers(t *testing.T) {
	const known, term = 100, 7
	for _, test := range []struct {
		what    string
		number  uint64
		term    uint64
		removed bool
	}{
		{"a newer removal", known + 1, term, true},
		{"an old removal", known - 50, term, false},
		{"an old removal, told in a later term", known - 50, term + RebuiltTerms - 1, false},
		{"a removal by the rebuilt shard", known - 50, term + RebuiltTerms, true},
	} {
		config := raftpb.ConfigRecord{Index: known, Membership: raftpb.Membership{ID: known, Members: []raftpb.Member{
			{ReplicaID: 1, Kind: raftpb.Voter, Incarnation: 11}, {ReplicaID: 2, Kind: raftpb.Voter, Incarnation: 12}, {ReplicaID: 3, Kind: raftpb.Voter, Incarnation: 13},
		}}}
		stored := raftpb.Stored{
			Bootstrap: raftpb.Bootstrap{Incarnation: 12, Complete: true, Initial: config.Membership},
			State:     raftpb.HardState{Term: term, Commit: known}, Compacted: known, CompactedTerm: term, Last: known, Configs: []raftpb.ConfigRecord{config},
		}
		c, err := New(0, Options{ShardID: testShard, ReplicaID: 2, Session: 102, Applied: known}, stored, Promised{}, fixedCache{})
		if err != nil {
			t.Fatal(err)
		}
		drained(c)
		c.Step(1, &raftpb.Message{
			Type: raftpb.MessageRemoved, ShardID: testShard, From: 1, FromIncarnation: 111, FromSession: 101, To: 2, ToIncarnation: 12, Term: test.term,
			Payload: raftpb.EncodeMembership(raftpb.Membership{ID: test.number, Members: []raftpb.Member{{ReplicaID: 1, Kind: raftpb.Voter, Incarnation: 111}}}),
		})
		checkInvariants(t, c)
		removed := false
		for _, e := range drained(c).Events {
			removed = removed || e.Kind == EventRemoved
		}
		if removed != test.removed {
			t.Errorf("%s: obeyed %v, want %v", test.what, removed, test.removed)
		}
	}
}
