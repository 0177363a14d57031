package raft

import (
	"fmt"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// TestPreVoteAndCheckQuorumInEveryMix runs three replicas of which each has pre-vote and check-quorum on or off, all 64 mixes (T-09). One is cut off
// from all others, or only hears nobody, or crashes, whether it leads or not; when the network is whole again the shard commits
// within a few election timeouts, and elects no more.
func TestPreVoteAndCheckQuorumInEveryMix(t *testing.T) {
	troubles := map[string]func(n *network, node *testNode){
		"cut off": func(n *network, node *testNode) {
			for _, other := range n.nodes {
				n.link(node.id, other.id, false)
				n.link(other.id, node.id, false)
			}
		},
		"deaf": func(n *network, node *testNode) {
			for _, other := range n.nodes {
				n.link(other.id, node.id, false)
			}
		},
		"mute": func(n *network, node *testNode) {
			for _, other := range n.nodes {
				n.link(node.id, other.id, false)
			}
		},
		"restarted": func(n *network, node *testNode) { n.crash(node); n.start(node) },
	}
	var initial raftpb.Membership
	for id := uint64(1); id <= 3; id++ {
		initial.Members = append(initial.Members, raftpb.Member{ReplicaID: id, Kind: raftpb.Voter})
	}
	for mix := range uint64(64) {
		for name, trouble := range troubles {
			for victim := range uint64(3) { // 0 is the leader
				n := newNetworkOf(initial, func(o *Options) {
					bits := mix >> (2 * (o.ReplicaID - 1))
					o.DisablePreVote, o.DisableCheckQuorum = bits&1 != 0, bits&2 != 0
					o.Seed += 1000 * (mix*3 + victim)
				}, func(format string, arguments ...any) {
					t.Errorf("mix %06b, %d %s: %s", mix, victim, name, fmt.Sprintf(format, arguments...))
				})
				n.advance(5 * time.Second)
				leader := n.leader()
				if leader == nil {
					t.Fatalf("mix %06b: no first leader", mix)
				}
				trouble(n, n.node((leader.id+victim-1)%3+1))
				n.proposeAnywhere("meanwhile")
				n.advance(5 * time.Second)
				clear(n.cut)
				n.requireCommit(t, mix)
			}
		}
	}
}
