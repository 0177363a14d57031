package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// changing asks for a change on a host and returns where the outcome will stand.
func (c *testCluster) changing(h *testHost, change raftpb.MembershipChange) *changed {
	outcome := &changed{}
	h.replicas[1].ChangeMembers(change, outcome.set)
	return outcome
}

type changed struct {
	over       bool
	membership raftpb.Membership
	err        error
}

func (o *changed) set(membership raftpb.Membership, err error) {
	o.membership, o.err, o.over = membership, err, true
}

// members changes the members and waits for the outcome.
func (c *testCluster) change(h *testHost, members ...raftpb.MemberChange) (raftpb.Membership, error) {
	c.t.Helper()
	outcome := c.changing(h, raftpb.MembershipChange{Members: members})
	c.until(time.Minute, "the change is over", func() bool { return outcome.over })
	return outcome.membership, outcome.err
}

// someOf starts shard 1 with its first members on some hosts only.
func (c *testCluster) someOf(first ...int) {
	members := map[uint64]string{}
	for _, i := range first {
		members[uint64(i)] = c.hosts[i-1].address
	}
	for _, i := range first {
		c.hosts[i-1].start(engine.ReplicaOptions{ShardID: 1, ReplicaID: uint64(i), Members: members})
	}
	c.waitLeader(1)
}

func (c *testCluster) join(i int) {
	c.hosts[i-1].start(engine.ReplicaOptions{ShardID: 1, ReplicaID: uint64(i), Join: true})
}

func voter(i int, h *testHost) raftpb.MemberChange {
	return raftpb.MemberChange{ReplicaID: uint64(i), Kind: raftpb.Voter, Address: h.address}
}

func kinds(m raftpb.Membership) string {
	var text strings.Builder
	for i := range m.Members {
		text.WriteByte("?VLW"[m.Members[i].Kind])
		text.WriteByte(byte('0' + m.Members[i].ReplicaID))
	}
	return text.String()
}

// One call replaces a replica by another on a new host, asked of the leader, of a follower, and of the one that leaves; the new
// one learns everything, the old one is told that it was removed, and comes back under its old ID.
func TestAReplicaIsReplacedByAnother(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.someOf(1, 2, 3)
	if _, err := c.propose(c.leader(1), 1, "a"); err != nil {
		t.Fatal(err)
	}
	c.join(4)
	absent := 4
	for round := range 4 {
		leader := c.waitLeader(1)
		leaving := absent%3 + 1
		asked := leader
		for i, h := range c.hosts {
			if round == 1 && i+1 == leaving || round == 2 && h != leader && i+1 != leaving && i+1 != absent {
				asked = h
			}
		}
		m, err := c.change(asked, voter(absent, c.hosts[absent-1]), raftpb.MemberChange{ReplicaID: uint64(leaving)})
		if err != nil || len(m.Members) != 3 || m.Joint() {
			t.Fatalf("round %d, %d for %d, asked of %s: %v, %v", round, absent, leaving, asked.address, m, err)
		}
		c.until(time.Minute, "the one that left is told", func() bool { return c.removed(leaving) })
		leader = c.waitLeader(1)
		if _, err := c.propose(leader, 1, "b"); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		c.until(time.Minute, "the new one has everything", func() bool {
			return len(c.hosts[absent-1].machines[1].commands) == len(leader.machines[1].commands)
		})
		c.restart(leaving)
		absent = leaving
	}
}

// removed says whether a replica's host has reported its removal since it was asked last.
func (c *testCluster) removed(replica int) bool {
	for i, event := range c.events {
		if event.Kind == engine.EventReplicaRemoved && event.ReplicaID == uint64(replica) {
			c.events = append(c.events[:i:i], c.events[i+1:]...)
			return true
		}
	}
	return false
}

// restart stops a replica, removes what it has and starts it anew as one that joins.
func (c *testCluster) restart(i int) {
	h := c.hosts[i-1]
	stopped, gone := false, false
	h.engine.StopReplica(h.replicas[1], func(error) { stopped = true })
	c.until(time.Minute, "stopped", func() bool { return stopped })
	h.engine.RemoveReplicaData(1, uint64(i), func(error) { gone = true })
	c.until(time.Minute, "its data is gone", func() bool { return gone })
	delete(h.machines, 1)
	c.join(i)
	c.until(time.Minute, "started", func() bool { return h.replicas[1] != nil })
}

// A shard of three becomes one of five and then of three others, while a client goes on.
func TestThreeToFiveToThree(t *testing.T) {
	c := newTestCluster(t, 6, nil)
	c.someOf(1, 2, 3)
	for _, i := range []int{4, 5, 6} {
		c.join(i)
	}
	proposed, ended, failed, at := 0, 0, 0, c.now
	next := func() {
		if ended < proposed || c.now == at { // without a pause the clock would never move
			return
		}
		at = c.now
		if leader := c.leader(1); leader != nil && leader.replicas[1].Propose([]byte{byte(proposed)}, 0, func(_ rsm.Result, err error) {
			ended++
			if err != nil {
				failed++
			}
		}) == nil {
			proposed++
		}
	}
	step := func(want string, members ...raftpb.MemberChange) {
		t.Helper()
		leader := c.waitLeader(1)
		outcome := c.changing(leader, raftpb.MembershipChange{Members: members})
		c.until(time.Minute, "the change is over", func() bool { next(); return outcome.over })
		if outcome.err != nil {
			t.Fatal(outcome.err)
		}
		if got := kinds(outcome.membership); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	step("V1V2V3V4V5", voter(4, c.hosts[3]), voter(5, c.hosts[4]))
	step("V4V5V6", voter(6, c.hosts[5]), raftpb.MemberChange{ReplicaID: 1}, raftpb.MemberChange{ReplicaID: 2}, raftpb.MemberChange{ReplicaID: 3})
	step("V4V5L6", raftpb.MemberChange{ReplicaID: 6, Kind: raftpb.Learner})
	c.until(time.Minute, "the client goes on", func() bool { next(); return ended > 20 })
	if failed > 2 { // the leader left once
		t.Errorf("%d of %d proposals failed", failed, ended)
	}
}

// Each way in which a change is refused has its own error, with the values, and surely changes nothing.
func TestARefusedChangeSaysWhy(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.someOf(1, 2, 3)
	c.run(time.Second)
	learner := raftpb.MemberChange{ReplicaID: 3, Kind: raftpb.Learner}
	if _, err := c.change(c.leader(1), learner); err != nil {
		t.Fatal(err)
	}
	gone := func(id uint64) raftpb.MemberChange { return raftpb.MemberChange{ReplicaID: id} }
	for _, h := range c.hosts[:3] {
		for name, refused := range map[string]struct {
			want   error
			text   string
			change raftpb.MembershipChange
		}{
			"nothing":     {engine.ErrInvalidChange, "names no members", raftpb.MembershipChange{}},
			"unknown":     {engine.ErrNotMember, "no replica 9", raftpb.MembershipChange{Members: []raftpb.MemberChange{gone(9)}}},
			"twice":       {engine.ErrInvalidChange, "3 is named twice", raftpb.MembershipChange{Members: []raftpb.MemberChange{learner, learner}}},
			"no voters":   {engine.ErrInvalidChange, "no voter", raftpb.MembershipChange{Members: []raftpb.MemberChange{gone(1), gone(2)}}},
			"no address":  {engine.ErrInvalidChange, "replica 4 has no address", raftpb.MembershipChange{Members: []raftpb.MemberChange{{ReplicaID: 4, Kind: raftpb.Voter}}}},
			"replica 0":   {engine.ErrInvalidChange, "replica 0", raftpb.MembershipChange{Members: []raftpb.MemberChange{{Kind: raftpb.Voter, Address: "x"}}}},
			"kind 9":      {engine.ErrInvalidChange, "replica 3", raftpb.MembershipChange{Members: []raftpb.MemberChange{{ReplicaID: 3, Kind: 9}}}},
			"stale":       {engine.ErrStaleChange, "made for membership 1,", raftpb.MembershipChange{IfID: 1, Members: []raftpb.MemberChange{gone(3)}}},
			"to witness":  {engine.ErrInvalidChange, "make it a learner first", raftpb.MembershipChange{Members: []raftpb.MemberChange{{ReplicaID: 1, Kind: raftpb.Witness}}}},
			"the address": {engine.ErrInvalidChange, "accepted are up to", raftpb.MembershipChange{Members: []raftpb.MemberChange{{ReplicaID: 4, Kind: raftpb.Voter, Address: strings.Repeat("a", 600)}}}},
		} {
			outcome := c.changing(h, refused.change)
			c.until(time.Minute, "refused", func() bool { return outcome.over })
			if !errors.Is(outcome.err, refused.want) || engine.MaybeApplied(outcome.err) || !strings.Contains(outcome.err.Error(), refused.text) {
				t.Errorf("%s, asked of %s: %v, want %v with %q", name, h.address, outcome.err, refused.want, refused.text)
			}
		}
	}
}

// While a learner is awaited that never comes a second change is refused and commands go on; the wait can be canceled, and ends
// when its leader is lost.
func TestAChangeThatCannotFinish(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.someOf(1, 2, 3)
	leader := c.waitLeader(1)
	first := c.changing(leader, raftpb.MembershipChange{Members: []raftpb.MemberChange{voter(4, c.hosts[3])}})
	c.run(time.Second)
	if _, err := c.change(leader, raftpb.MemberChange{ReplicaID: 4}); !errors.Is(err, engine.ErrPendingChange) {
		t.Errorf("a second change: %v", err)
	}
	if _, err := c.propose(leader, 1, "a"); err != nil || first.over {
		t.Errorf("%v, the first change over: %t", err, first.over)
	}
	canceled := &changed{}
	follower := c.hosts[0]
	if follower == leader {
		follower = c.hosts[1]
	}
	follower.replicas[1].CancelChange(canceled.set)
	c.until(time.Minute, "both are over", func() bool { return canceled.over && first.over })
	if canceled.err != nil || kinds(canceled.membership) != "V1V2V3" {
		t.Errorf("%v %v", canceled.membership, canceled.err)
	}
	if !errors.Is(first.err, engine.ErrChangeCanceled) || engine.MaybeApplied(first.err) {
		t.Errorf("the one that was canceled: %v", first.err)
	}

	second := c.changing(follower, raftpb.MembershipChange{Members: []raftpb.MemberChange{voter(4, c.hosts[3])}})
	c.run(time.Second)
	c.cutOff(leader, true)
	c.until(time.Minute, "the leader is lost", func() bool { return second.over })
	if !errors.Is(second.err, engine.ErrLeaderChanged) || !engine.MaybeApplied(second.err) {
		t.Errorf("the leader was lost: %v", second.err)
	}
	c.cutOff(leader, false)
	c.join(4)
	c.until(time.Minute, "the next leader has finished it", func() bool { return c.kindsAt(follower) == "V1V2V3V4" })
}

// kindsAt is the membership in effect on a host.
func (c *testCluster) kindsAt(h *testHost) string {
	text := ""
	h.replicas[1].Status(func(s raft.Status, err error) { text = kinds(*s.Membership) })
	for text == "" {
		c.step()
	}
	return text
}
