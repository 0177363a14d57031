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
