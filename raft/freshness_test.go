package raft

import "testing"

// While the state machine recovers from a snapshot, what counts as applied is not in it: a stale read would be told that a state is
// fresh which it does not see. Found by the simulator (everything, seed 991001063).
func TestFreshnessWaitsForARecovery(t *testing.T) {
	c := &Core{applied: 8}
	c.learnFresh(Freshness{At: 10, Index: 8})
	c.learnFresh(Freshness{At: 20, Index: 15})
	c.applied, c.install.recovering = 20, true
	c.learnFresh(Freshness{At: 30, Index: 18})
	if newest, applied := c.Freshness(); newest != (Freshness{20, 15}) || applied != (Freshness{10, 8}) {
		t.Errorf("while it recovers: newest %v, applied %v", newest, applied)
	}
	c.install.recovering = false
	c.learnFresh(Freshness{At: 40, Index: 19})
	if newest, applied := c.Freshness(); newest != (Freshness{40, 19}) || applied != (Freshness{20, 15}) {
		t.Errorf("afterwards: newest %v, applied %v", newest, applied)
	}
}
