package raft

import (
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// TestMessagesOfSessionsLongGoneAreStale restarts a follower three times and then delivers a message of each session that is
// over: none may take the place of the present one, nor make the leader take a forward of it a second time (R2).
func TestMessagesOfSessionsLongGoneAreStale(t *testing.T) {
	n := newNetwork(3, t.Errorf)
	n.settle()
	leader, follower := n.node(1), n.node(2)
	n.now = max(n.now, leader.core.electionAt)
	leader.core.Tick(n.now)
	n.settle()

	var old []raftpb.Message
	for range 3 {
		n.propose(follower, "x")
		n.drain(follower)
		for i := range n.queue {
			if n.queue[i].Type == raftpb.MessagePropose {
				old = append(old, n.queue[i])
			}
		}
		n.settle()
		n.crash(follower)
		n.start(follower)
		n.advance(leader.core.options.HeartbeatInterval * 2)
	}
	if len(old) != 3 || !leader.core.IsLeader() || leader.core.peer(2).session != follower.session {
		t.Fatalf("%d forwards, leader %t", len(old), leader.core.IsLeader())
	}
	last := leader.core.LastIndex()
	for i := range old {
		leader.core.Step(n.now, &old[i])
		if got := leader.core.peer(2).session; got != follower.session {
			t.Errorf("a message of session %d took the place of session %d", old[i].FromSession, follower.session)
		}
		n.settle()
	}
	if got := leader.core.LastIndex(); got != last {
		t.Errorf("%d entries were appended a second time", got-last)
	}
}

// TestLivingSessionComesBack delivers the first message of an older session after those of the living one. The leader takes the
// living one for over, until it answers the next heartbeat; and it still knows which of its forwards it took (R2).
func TestLivingSessionComesBack(t *testing.T) {
	n := newNetwork(3, t.Errorf)
	n.settle()
	leader, follower := n.node(1), n.node(2)
	n.now = max(n.now, leader.core.electionAt)
	leader.core.Tick(n.now)
	n.settle()
	n.propose(follower, "x")
	n.drain(follower)
	forward := n.queue[0]
	n.settle()
	leader.core.Step(n.now, &raftpb.Message{
		Type: raftpb.MessagePreVote, ShardID: testShard, Term: 2, From: 2, FromIncarnation: 12, FromSession: 99, To: 1,
	})
	n.propose(leader, "y")
	n.advance(leader.core.options.HeartbeatInterval * 3)
	if p := leader.core.peer(2); p.session != follower.session || p.match != leader.core.LastIndex() {
		t.Errorf("session %d, want %d; match %d of %d", p.session, follower.session, p.match, leader.core.LastIndex())
	}
	last := leader.core.LastIndex()
	leader.core.Step(n.now, &forward)
	if leader.core.LastIndex() != last {
		t.Error("a forward was taken twice")
	}
}
