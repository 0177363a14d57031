package raft

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// A tail is cut for the sake of a log that ends in a higher term, though none that this replica has not entered, and else never, whatever
// an answer holds. What is committed is never cut.
func TestPullCutsOnlyForALogThatIsNewer(t *testing.T) {
	for name, test := range map[string]struct {
		endTerm uint64 // of the other's log
		commit  uint64
		want    uint64 // last entry after the answer
	}{
		"a higher term":                   {endTerm: 3, want: 2},
		"the same term":                   {endTerm: 2, want: 3},
		"a lower term":                    {endTerm: 1, want: 3},
		"a term that is not entered here": {endTerm: 9, want: 3},
		"what is committed":               {endTerm: 3, commit: 3, want: 3},
	} {
		c, err := New(0, Options{ShardID: testShard, ReplicaID: 1, Session: 1}, raftpb.Stored{
			State: raftpb.HardState{Term: 5, Commit: test.commit}, Last: 3, Terms: []raftpb.TermStart{{Term: 1, First: 1}, {Term: 2, First: 2}},
			Bootstrap: raftpb.Bootstrap{Incarnation: 11, Complete: true, Initial: raftpb.Membership{Members: []raftpb.Member{
				{ReplicaID: 1, Kind: raftpb.Voter, Incarnation: 11}, {ReplicaID: 2, Kind: raftpb.Voter, Incarnation: 12},
			}}},
		}, Promised{}, fixedCache{})
		if err != nil {
			t.Fatal(err)
		}
		c.log.runs.push(run{first: 1, term: 1, count: 1})
		c.log.runs.push(run{first: 2, term: 2, count: 1})
		c.log.runs.push(run{first: 3, term: 2, count: 1})
		c.Tick(Instant(10 * time.Second))
		if c.Role() != RolePreCandidate {
			t.Fatalf("%s: role %s", name, c.Role())
		}
		c.pull = pullState{lost: 1, from: 2, request: 7, asked: entryID{Index: 1, Term: 1}}
		batch := raftpb.NewNoOp(testShard)
		batch.Stamp(min(test.endTerm, 3), 2)
		c.Step(Instant(10*time.Second), &raftpb.Message{
			Type: raftpb.MessagePullResponse, ShardID: testShard, From: 2, FromIncarnation: 12, FromSession: 2, To: 1, ToIncarnation: 11, ToSession: 1,
			Term: 5, Request: 7, LogIndex: 1, LogTerm: 1, HintIndex: 2, HintTerm: test.endTerm, Batches: []raftpb.Batch{batch},
		})
		if c.LastIndex() != test.want {
			t.Errorf("%s: the log ends at %d, want %d", name, c.LastIndex(), test.want)
		}
		if cut := test.want == 2; cut != (c.term == 6) {
			t.Errorf("%s: term %d after the answer", name, c.term)
		}
	}
}

// What is not in memory any more is read from the log store for whoever pulls.
func TestPullOfOldEntriesReadsTheLog(t *testing.T) {
	n, leader, hub := partialNetwork(t, 5, 0, true)
	clear(n.cut)
	n.star(hub.id)
	n.crash(leader)
	for _, node := range n.nodes {
		if node.core != nil {
			clear(node.cache.chunks)
			node.core.log.unpin(node.core.log.last, node.core.save.next, 0)
		}
	}
	n.requireCommit(t, 0)
	if hub.pulls == 0 {
		t.Error("nothing was pulled")
	}
}
