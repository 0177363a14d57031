package engine_test

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// A witness is added to a shard of two that runs, gets the headers of what was there, stands in for a data voter that is away, and is
// removed again, which it is told.
func TestAWitnessIsAddedAndRemoved(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.someOf(1, 2)
	leader := c.waitLeader(1)
	for _, command := range []string{"a", "b"} {
		if _, err := c.propose(leader, 1, command); err != nil {
			t.Fatal(err)
		}
	}
	witness := c.hosts[2]
	witness.engine.StartReplica(engine.ReplicaOptions{ShardID: 1, ReplicaID: 3, Join: true, Raft: raft.Options{Witness: true}}, nil, func(r *engine.Replica, err error) {
		if err != nil {
			t.Error(err)
		}
		witness.replicas[1] = r
	})
	members, err := c.change(leader, raftpb.MemberChange{ReplicaID: 3, Kind: raftpb.Witness, Address: witness.address})
	if err != nil || kinds(members) != "V1V2W3" {
		t.Fatal(members, err)
	}
	last := leader.replicas[1].Applied()
	c.until(10*time.Second, "it has every header", func() bool {
		stored, err := witness.log.Load(keyOf(1, 3))
		return err == nil && stored.Last >= last
	})
	if witness.headers(t, last) < 3 {
		t.Error("the log of the witness has not what was there before it")
	}

	follower := c.hosts[0]
	if follower == leader {
		follower = c.hosts[1]
	}
	c.cutOff(follower, true)
	var failure error
	open := true
	if err := leader.replicas[1].Propose([]byte("c"), 0, func(_ rsm.Result, err error) { failure, open = err, false }); err != nil {
		t.Fatal(err)
	}
	c.until(10*time.Second, "the witness stands in", func() bool { return !open })
	if failure != nil {
		t.Fatal(failure)
	}
	c.cutOff(follower, false)

	leader = c.waitLeader(1)
	if members, err = c.change(leader, raftpb.MemberChange{ReplicaID: 3}); err != nil || kinds(members) != "V1V2" {
		t.Fatal(members, err)
	}
	c.until(10*time.Second, "it knows that it was removed", func() bool { return c.removed(3) })
	if _, err := c.propose(c.waitLeader(1), 1, "d"); err != nil {
		t.Fatal(err)
	}
}
