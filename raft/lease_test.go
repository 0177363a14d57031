package raft

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// leasedNetwork is a shard of three with leases and a leader that has one.
func leasedNetwork(t *testing.T) (n *network, leader, follower *testNode) {
	t.Helper()
	var initial raftpb.Membership
	for id := uint64(1); id <= 3; id++ {
		initial.Members = append(initial.Members, raftpb.Member{ReplicaID: id, Kind: raftpb.Voter})
	}
	n = newNetworkOf(initial, func(o *Options) { o.LeaseRead = true }, t.Errorf)
	n.advance(4 * time.Second)
	leader = n.leader()
	if leader == nil || leader.core.Status().LeaseEnd == 0 {
		t.Fatal("no leader with a lease")
	}
	return n, leader, n.node(leader.id%3 + 1)
}

func (n *network) heartbeat(from, to *testNode) *raftpb.Message {
	return &raftpb.Message{
		Type: raftpb.MessageHeartbeat, ShardID: testShard, Term: from.core.term, Request: from.core.reads.round + 1,
		From: from.id, FromIncarnation: 10 + from.id, FromSession: from.session, To: to.id, ToIncarnation: 10 + to.id,
		ToSession: to.session, Time: int64(n.now),
	}
}

func (n *network) vote(from, to *testNode) *raftpb.Message {
	return &raftpb.Message{
		Type: raftpb.MessageVote, ShardID: testShard, Term: to.core.term + 1, Request: 1 << 40, LogIndex: 1 << 20, LogTerm: to.core.term,
		From: from.id, FromIncarnation: 10 + from.id, FromSession: from.session, To: to.id, ToIncarnation: 10 + to.id, ToSession: to.session,
	}
}

// A process stands still between the reading of the clock and the taking of the inputs: the heartbeat that it then takes may have been
// sent long after that reading. The promise counts from the next one.
func TestPromiseCountsFromAReadingAfterTheReceipt(t *testing.T) {
	n, leader, follower := leasedNetwork(t)
	other := n.node(6 - leader.id - follower.id)
	n.queue = nil
	stale := n.now
	n.now += Instant(5 * time.Second) // the leader sends it now
	c := follower.core
	c.Step(stale, n.heartbeat(leader, follower))
	n.out.Reset()
	c.Drain(&n.out)
	if len(n.out.Messages) != 1 || n.out.Messages[0].HintIndex != uint64(time.Second) {
		t.Fatalf("answers %v, want a promise of a second", n.out.Messages)
	}
	if !c.ClockDue() {
		t.Fatal("no reading of the clock is asked for")
	}
	granted := func(now Instant) bool {
		c.Step(now, n.vote(other, follower))
		n.out.Reset()
		c.Drain(&n.out)
		for _, s := range n.out.Saves {
			c.Saved(now, s.Number)
		}
		c.Drain(&n.out)
		for _, m := range n.out.Messages {
			if m.Type == raftpb.MessageVoteResponse && m.Reason == raftpb.ReasonNone {
				return true
			}
		}
		return false
	}
	if c.Tick(n.now); c.role != RoleFollower {
		t.Errorf("it campaigns as %s, bound by a promise that does not count yet", c.role)
	}
	if granted(n.now) {
		t.Error("it votes while its promise does not count yet")
	}
	c.Observe(n.now)
	if granted(n.now + Instant(time.Second) - 1) {
		t.Error("it votes before a second is over")
	}
	if !granted(n.now + Instant(time.Second)) {
		t.Error("it does not vote after a second")
	}
}

// The same on the leader's side: a read is not decided by a reading that is older than the read.
func TestReadIsDecidedByALaterReading(t *testing.T) {
	n, leader, _ := leasedNetwork(t)
	c := leader.core
	take := func() []ReadState {
		n.out.Reset()
		c.Drain(&n.out)
		return n.out.Reads
	}
	c.ReadIndex(n.now, 1)
	if reads := take(); len(reads) != 0 || !c.ClockDue() {
		t.Fatalf("%v before the clock was read again", reads)
	}
	c.Observe(n.now)
	if reads := take(); len(reads) != 1 || !reads[0].Lease {
		t.Fatalf("%v after it was", reads)
	}

	c.ReadIndex(n.now, 2)
	take()
	c.ReadIndex(n.now, 3) // after the Drain: the reading that comes now may be older
	c.Observe(n.now + Instant(5*time.Second))
	if reads := take(); len(reads) != 0 || !c.roundReady() && c.reads.queue.len() != 1 {
		t.Fatalf("%v although the lease was over by then", reads)
	}
	c.Observe(n.now)
	if reads := take(); len(reads) != 1 || reads[0].ID != 3 {
		t.Fatalf("%v, want read 3 by its own reading", reads)
	}
}

// clockPair is a leader and a voter whose clock has its own origin and pace, and a network that takes what it likes.
type clockPair struct{ pace float64 }

func (p clockPair) show(world Instant) uint64 {
	return uint64(3_000_000_000) + uint64(float64(world)*p.pace)
}

// A clock that keeps within the bound is never said to exceed it, whatever the network does; one that gains clearly more is, before
// long.
func TestClockWatch(t *testing.T) {
	const bound = 100 * time.Millisecond
	rapid.Check(t, func(t *rapid.T) {
		percent := rapid.IntRange(-30, 60).Draw(t, "percent")
		pair := clockPair{1 + float64(percent)/100}
		var w clockWatch
		now, exceeded := Instant(time.Second), false
		for range 400 {
			sent := now
			now += Instant(rapid.IntRange(0, 20).Draw(t, "there")) * Instant(time.Millisecond)
			clock := pair.show(now)
			now += Instant(rapid.IntRange(0, 20).Draw(t, "back")) * Instant(time.Millisecond)
			exceeded = w.observe(now, sent, clock, bound, Instant(time.Second)) || exceeded
			now += Instant(100 * time.Millisecond)
		}
		switch {
		case percent <= 10 && exceeded:
			t.Fatalf("a clock that gains %d %% is said to exceed the bound", percent)
		case percent >= 13 && !exceeded:
			t.Fatalf("a clock that gains %d %% is not noticed", percent)
		}
	})
}

// A clock that was good for most of a long comparison and then runs away is noticed within an election timeout, long before what the bound had
// allowed until then is used up; and again by who begins to watch only then, after few answers.
func TestClockThatRunsAwayIsNoticedSoon(t *testing.T) {
	const bound, interval, roundTrip = 100 * time.Millisecond, Instant(100 * time.Millisecond), Instant(5 * time.Millisecond)
	for _, good := range []int{0, 1, 5, 100, 310} { // heartbeats before
		var w clockWatch
		now, clock, noticed := Instant(time.Second), Instant(time.Hour), 0
		for i := range good + 10 {
			pace := Instant(10)
			if i >= good {
				pace = 14 // tenths
			}
			noticed++
			clock += interval * pace / 10
			now += interval
			if w.observe(now, now-roundTrip, uint64(clock), bound, Instant(time.Second)) {
				break
			}
			if i < good {
				noticed = 0
			}
		}
		if !w.exceeded || noticed > 6 {
			t.Errorf("after %d good answers: noticed %t, by %d answers", good, w.exceeded, noticed)
		}
	}
}

// What is counted off a lease covers the drift that is allowed, to the nanosecond above.
func TestDrifted(t *testing.T) {
	for _, d := range []Instant{0, 1, 999_999, 1_000_000, Instant(time.Second), Instant(time.Hour)} {
		got := drifted(d, 100*time.Millisecond)
		if exact := float64(d) / 10; float64(got) < exact || float64(got) > exact+100_000 {
			t.Errorf("drifted(%d) = %d, want %.0f or a little more", d, got, exact)
		}
	}
}

// A voter that is found to gain too much is reported once, and does not count for the lease until it behaved for a while.
func TestVoterWithAFastClockDoesNotCount(t *testing.T) {
	n, leader, _ := leasedNetwork(t)
	c := leader.core
	end := c.leaseEnd()
	for _, p := range c.peers {
		p.clock.exceeded = true
	}
	if got := c.leaseEnd(); got != 0 {
		t.Errorf("the lease ends at %d without a voter that counts, it was %d", got, end)
	}
	c.ReadIndex(n.now, 1)
	if n.drain(leader); c.reads.queue.len() != 1 {
		t.Error("the read does not fall back to a round")
	}
	n.advance(40 * time.Second)
	if c.Status().LeaseEnd == 0 {
		t.Error("no lease after the clocks were good for a while")
	}
}

// Of a joint membership both configurations have to be bound.
func TestLeaseOfAJointMembership(t *testing.T) {
	voters := func(ids ...uint64) (members []raftpb.Member) {
		for _, id := range ids {
			members = append(members, raftpb.Member{ReplicaID: id, Kind: raftpb.Voter})
		}
		return members
	}
	c := coreOf(raftpb.Membership{Members: voters(1, 2, 3), Outgoing: voters(1, 4, 5)})
	for _, p := range c.peers {
		if p.id <= 3 {
			p.boundUntil = 100
		}
	}
	if got := c.leaseEnd(); got != 0 {
		t.Errorf("the outgoing configuration promised nothing, and the lease ends at %d", got)
	}
	c.peer(5).boundUntil = 70
	if got := c.leaseEnd(); got != 70 {
		t.Errorf("the lease ends at %d, want 70", got)
	}
}
