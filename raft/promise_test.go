package raft

import (
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
)

func restarted(t *testing.T, stored raftpb.Stored, promised Promised) *Core {
	t.Helper()
	stored.Bootstrap = raftpb.Bootstrap{Incarnation: 11, Complete: true, Initial: raftpb.Membership{Members: []raftpb.Member{
		{ReplicaID: 1, Kind: raftpb.Voter, Incarnation: 11}, {ReplicaID: 2, Kind: raftpb.Voter, Incarnation: 12},
		{ReplicaID: 3, Kind: raftpb.Voter, Incarnation: 13},
	}}}
	c, err := New(0, Options{ShardID: testShard, ReplicaID: 1, Session: 1, Applied: stored.Compacted}, stored, promised, fixedCache{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestKept says which logs hold what was promised. Within a term nothing that was acknowledged is ever cut, so the very entry
// has to be there; in a later one a new leader may have cut it.
func TestKept(t *testing.T) {
	promised := Promised{VoteTerm: 5, Term: 3, Index: 10}
	for name, test := range map[string]struct {
		stored raftpb.Stored
		want   Role
	}{
		"all of it": {want: RoleFollower, stored: raftpb.Stored{
			State: raftpb.HardState{Term: 5}, Last: 10, Terms: []raftpb.TermStart{{Term: 3, First: 1}}}},
		"more": {want: RoleFollower, stored: raftpb.Stored{
			State: raftpb.HardState{Term: 5}, Last: 12, Terms: []raftpb.TermStart{{Term: 3, First: 1}, {Term: 5, First: 11}}}},
		"compacted": {want: RoleFollower, stored: raftpb.Stored{
			State: raftpb.HardState{Term: 5}, Last: 20, Compacted: 20, CompactedTerm: 5}},
		"a later term cut it": {want: RoleFollower, stored: raftpb.Stored{
			State: raftpb.HardState{Term: 6}, Last: 4, Terms: []raftpb.TermStart{{Term: 3, First: 1}}}},
		"a shorter log": {want: RoleAbstaining, stored: raftpb.Stored{
			State: raftpb.HardState{Term: 5}, Last: 9, Terms: []raftpb.TermStart{{Term: 3, First: 1}}}},
		"an earlier term": {want: RoleAbstaining, stored: raftpb.Stored{
			State: raftpb.HardState{Term: 4}, Last: 10, Terms: []raftpb.TermStart{{Term: 3, First: 1}}}},
		"the tail that was cut before it was acknowledged": {want: RoleAbstaining, stored: raftpb.Stored{
			State: raftpb.HardState{Term: 5}, Last: 8, Terms: []raftpb.TermStart{{Term: 3, First: 1}, {Term: 4, First: 8}}}},
	} {
		if got := restarted(t, test.stored, promised).Role(); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// TestCommittedEntriesAreMissing is a log store that is its own witness: the commit index is written with the entries that it
// speaks of, or after them. The host's record is gone.
func TestCommittedEntriesAreMissing(t *testing.T) {
	stored := raftpb.Stored{State: raftpb.HardState{Term: 5, Commit: 9}, Last: 8, Terms: []raftpb.TermStart{{Term: 3, First: 1}}}
	if got := restarted(t, stored, Promised{}).Role(); got != RoleAbstaining {
		t.Errorf("role %s, want abstaining", got)
	}
	stored.State.Commit = 8
	if got := restarted(t, stored, Promised{}).Role(); got != RoleFollower {
		t.Errorf("role %s, want follower", got)
	}
}

// TestForgottenVote is a log store that lost the write of a vote, and kept the earlier one of its term: the host's record
// cannot tell whether there was a vote, so none is given in that term.
func TestForgottenVote(t *testing.T) {
	c := restarted(t, raftpb.Stored{State: raftpb.HardState{Term: 5}}, Promised{VoteTerm: 5})
	vote := func(term uint64) raftpb.Reason {
		var out Output
		c.Step(1, &raftpb.Message{
			Type: raftpb.MessageVote, ShardID: testShard, Term: term, Request: 1,
			From: 2, FromIncarnation: 12, FromSession: 2, To: 1, ToIncarnation: 11,
		})
		c.Drain(&out)
		for _, s := range out.Saves {
			c.Saved(1, s.Number)
		}
		c.Drain(&out)
		return out.Messages[0].Reason
	}
	if got := vote(5); got != raftpb.ReasonDenied {
		t.Errorf("a vote in the promised term: %s", got)
	}
	if got := vote(6); got != raftpb.ReasonNone {
		t.Errorf("a vote in the next term: %s", got)
	}
}

// TestALogThatEndsInThePresentTermIsPromised is what a replica promises at its start, when it does not know what its former self acknowledged: all
// of the log if it ends in the present term, whose leader does not cut it. A tail of an earlier term may rightly be cut in the present one: to
// promise that would be to abstain for nothing.
func TestALogThatEndsInThePresentTermIsPromised(t *testing.T) {
	for name, test := range map[string]struct {
		term uint64
		want Promised
	}{
		"of the present term": {term: 4, want: Promised{VoteTerm: 4, Term: 4, Index: 12}},
		"of an earlier term":  {term: 5, want: Promised{VoteTerm: 5, Term: 3, Index: 7}},
	} {
		c := restarted(t, raftpb.Stored{
			State: raftpb.HardState{Term: test.term}, Compacted: 7, CompactedTerm: 3, Last: 12,
			Terms: []raftpb.TermStart{{Term: 3, First: 8}, {Term: 4, First: 10}},
		}, Promised{})
		if got, ok := c.Promise(); !ok || got != test.want {
			t.Errorf("%s: promised %+v %v, want %+v", name, got, ok, test.want)
		}
	}
}
