package raft

import (
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// twoLeaders makes replicas 1 and 3 leaders of the same term: the disk of 2 has lost, without a trace, that it voted for 1.
func twoLeaders(t *testing.T) (n *network, term uint64, seen *int) {
	t.Helper()
	seen = new(int)
	initial := raftpb.Membership{}
	for id := uint64(1); id <= 3; id++ {
		initial.Members = append(initial.Members, raftpb.Member{ReplicaID: id, Kind: raftpb.Voter})
	}
	n = newNetworkOf(initial, func(o *Options) { o.DisableCheckQuorum = true }, func(format string, arguments ...any) {
		if strings.Contains(format, "lead term") {
			*seen++ // the network's own check of what is brought about here
			return
		}
		t.Errorf(format, arguments...)
	})
	n.advance(3 * time.Second)
	n.crash(n.leader())
	n.start(n.nodes[0])
	voter := n.node(2)
	for _, candidate := range []*testNode{n.node(1), n.node(3)} {
		for _, node := range n.nodes { // nobody leads or knows a leader
			if !node.core.IsLeader() {
				n.crash(node)
				if node == voter {
					node.disk.stored.State.Vote, node.promised = 0, Promised{}
				}
				n.start(node)
			}
		}
		n.queue = nil
		n.now = max(n.now, candidate.core.electionAt)
		candidate.core.Tick(n.now)
		for range 8 {
			n.elect(candidate, []*testNode{voter})
		}
		if !candidate.core.IsLeader() {
			t.Fatalf("%d does not lead: %s", candidate.id, describeStatus(candidate.core.Status()))
		}
		n.queue = nil
	}
	if one, three := n.node(1).core, n.node(3).core; !one.IsLeader() || one.term != three.term {
		t.Fatalf("no two leaders of one term: %d and %d", one.term, three.term)
	}
	return n, n.node(1).core.term, seen
}

// Whoever hears of both, a follower or one of the two, ends both reigns at once, in the next term, and then one is elected
// whom all follow (R20).
func TestTwoLeadersOfOneTermStandDown(t *testing.T) {
	for _, test := range []struct {
		name         string
		from1, from3 []uint64 // who hears which of them
	}{
		{"a follower hears both", []uint64{2}, []uint64{2}},
		{"the first hears the other", nil, []uint64{1}},
		{"the second hears the other", []uint64{3}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, term, seen := twoLeaders(t)
			if *seen == 0 {
				t.Fatal("the network did not see two leaders")
			}
			hears := map[[2]uint64]bool{}
			for _, to := range test.from1 {
				hears[[2]uint64{1, to}] = true
			}
			for _, to := range test.from3 {
				hears[[2]uint64{3, to}] = true
			}
			for _, leader := range []uint64{1, 3} { // what they say first is lost to those who are not to hear it
				for _, node := range n.nodes {
					n.link(leader, node.id, hears[[2]uint64{leader, node.id}] || leader == node.id)
				}
			}
			n.advance(150 * time.Millisecond) // a heartbeat
			clear(n.cut)
			n.advance(150 * time.Millisecond)
			for _, id := range []uint64{1, 3} {
				if c := n.node(id).core; c.IsLeader() && c.term == term {
					t.Errorf("%d still leads term %d", id, term)
				}
			}
			n.advance(5 * time.Second)
			leader := n.leader()
			if leader == nil || leader.core.term <= term {
				t.Fatalf("no leader of a term after %d", term)
			}
			for _, node := range n.nodes {
				if known, at := node.core.Leader(); known != leader.id || at != leader.core.term {
					t.Errorf("%d follows %d in term %d, %d leads %d", node.id, known, at, leader.id, leader.core.term)
				}
			}
		})
	}
}
