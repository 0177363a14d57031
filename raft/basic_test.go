package raft

import (
	"testing"
	"time"
)

func TestThreeReplicasElectReplicateAndApply(t *testing.T) {
	n := newNetwork(3, t.Errorf)
	n.advance(3 * time.Second)
	leader := n.leader()
	if leader == nil {
		for _, node := range n.nodes {
			t.Log(describeStatus(node.core.Status()))
		}
		t.Fatal("no leader")
	}
	for range 10 {
		n.propose(leader, "a", "b")
		n.settle()
	}
	n.advance(time.Second)
	for _, node := range n.nodes {
		if node.upTo != 22 {
			t.Errorf("%s", describeStatus(node.core.Status()))
		}
	}
}
