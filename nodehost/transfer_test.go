package nodehost_test

import (
	"errors"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
)

// A transfer to a replica that cannot take over ends with the reason, and the leader goes on.
func TestATransferThatFailsSaysWhy(t *testing.T) {
	c, network := newMemoryCluster(t, 3)
	c.startAll(1)
	c.propose(0, 1, "before")
	leader := c.leader(1)
	target := (leader + 1) % 3
	c.isolate(network, target, true)
	c.propose(leader, 1, "what the target lacks")
	shard := c.shard(leader, 1)
	seen := make(map[error]bool)
	c.eventually("behind, then not heard any more", func() bool {
		err := shard.TransferLeader(patient(t), uint64(target+1))
		if !errors.Is(err, nodehost.ErrTransferFailed) {
			t.Fatalf("transfer to a host that is cut off: %v", err)
		}
		for _, reason := range []error{nodehost.ErrTargetBehind, nodehost.ErrTargetFailed} {
			if errors.Is(err, reason) {
				seen[reason] = true
				if nodehost.MaybeApplied(err) {
					t.Errorf("%v: the target was told nothing", err)
				}
			}
		}
		return seen[nodehost.ErrTargetFailed]
	})
	if !seen[nodehost.ErrTargetBehind] {
		t.Log("the machine was so slow that the target was not heard from the start")
	}
	c.propose(leader, 1, "after")
	c.isolate(network, target, false)
	c.eventually("transfer", func() bool {
		err := shard.TransferLeader(patient(t), uint64(target+1))
		leads, _, _ := shard.Leader() // another one may have been elected meanwhile
		return err == nil && leads == uint64(target+1)
	})
}
