package raft

import (
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// installing is a replica of three with a log of terms 1 and 3 up to entry 10, to which the leader of term 4 has offered a snapshot.
func installing(t *testing.T) *Core {
	t.Helper()
	members := []raftpb.Member{{ReplicaID: 1, Kind: raftpb.Voter}, {ReplicaID: 2, Kind: raftpb.Voter}, {ReplicaID: 3, Kind: raftpb.Voter}}
	stored := raftpb.Stored{
		Bootstrap: raftpb.Bootstrap{Incarnation: 11, Complete: true, Initial: raftpb.Membership{Members: members}},
		State:     raftpb.HardState{Term: 3, Vote: 2, Commit: 4}, Last: 10, Terms: []raftpb.TermStart{{Term: 1, First: 1}, {Term: 3, First: 5}},
	}
	c, err := New(0, Options{ShardID: testShard, ReplicaID: 1, Session: 101}, stored, Promised{}, fixedCache{})
	if err != nil {
		t.Fatal(err)
	}
	c.Step(1, &raftpb.Message{
		Type: raftpb.MessageInstallSnapshot, ShardID: testShard, From: 2, FromIncarnation: 12, FromSession: 102, To: 1, Term: 4,
		LogIndex: 8, LogTerm: 2, HintIndex: 77, HintTerm: 3,
	})
	out := drained(c)
	if len(out.Installs) != 1 || out.Installs[0].StreamID != 77 || out.Installs[0].Source != 3 || out.Installs[0].LogIndex != 8 {
		t.Fatalf("installs %+v", out.Installs)
	}
	c.Saved(2, out.Saves[0].Number)
	return c
}

func drained(c *Core) *Output {
	out := &Output{}
	c.Drain(out)
	return out
}

func snapshotUpTo(index, term uint64) raftpb.SnapshotMeta {
	config := raftpb.ConfigRecord{Index: 1, Membership: raftpb.Membership{ID: 1, Members: []raftpb.Member{{ReplicaID: 1, Kind: raftpb.Voter}}}}
	return raftpb.SnapshotMeta{ShardID: testShard, ReplicaID: 3, Index: index, Term: term, Config: config}
}

// A tail that is thrown away, and counts for more than the snapshot, may have been acknowledged in this term: a new one begins with the
// write, and its leader is not answered.
func TestSnapshotOverAConflictingTailEntersANewTerm(t *testing.T) {
	c := installing(t)
	if !c.SnapshotReceived(3, snapshotUpTo(8, 2)) {
		t.Fatal("the snapshot is of no use")
	}
	checkInvariants(t, c)
	out := drained(c)
	if len(out.Messages) != 0 || len(out.Saves) != 1 || out.Saves[0].State.Term != 5 || out.Saves[0].Installing.Index != 8 {
		t.Fatalf("messages %v, saves %+v", out.Messages, out.Saves)
	}
	c.Saved(4, out.Saves[0].Number)
	if out := drained(c); len(out.Messages) != 0 {
		t.Errorf("after the write: %v", out.Messages)
	}
}

// After an installation the record of promises is of the snapshot's entry, from when that is durable on (R14); and never of an entry that is
// compacted, whose term nobody knows any more.
func TestPromiseAfterASnapshot(t *testing.T) {
	c := installing(t)
	if !c.SnapshotReceived(3, snapshotUpTo(20, 3)) {
		t.Fatal("the snapshot is of no use")
	}
	if _, ok := c.Promise(); ok {
		t.Error("something is promised before the log is restarted on the disk")
	}
	c.Saved(4, drained(c).Saves[0].Number)
	want := Promised{VoteTerm: 4, Term: 3, Index: 20}
	if promised, ok := c.Promise(); !ok || promised != want {
		t.Errorf("promised %+v, %t, want %+v", promised, ok, want)
	}
	c.becomeFollower(5, 6) // in a new term nothing is acknowledged yet
	c.Saved(6, drained(c).Saves[0].Number)
	want.VoteTerm = 6
	if promised, ok := c.Promise(); !ok || promised != want {
		t.Errorf("in the next term promised %+v, %t, want %+v", promised, ok, want)
	}
}

// A snapshot may be of a term that this replica has not heard of yet.
func TestSnapshotOfAHigherTerm(t *testing.T) {
	c := installing(t)
	if !c.SnapshotReceived(3, snapshotUpTo(20, 9)) {
		t.Fatal("the snapshot is of no use")
	}
	checkInvariants(t, c)
	if save := drained(c).Saves[0]; save.State.Term != 9 || c.Role() != RoleFollower {
		t.Errorf("save %+v, a %s", save, c.Role())
	}
}
