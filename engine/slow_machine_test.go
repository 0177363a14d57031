package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
)

// blockApply keeps a host's state machines where they are, as if an Update did not return, or lets them go on.
func (h *testHost) blockApply(blocked bool) {
	h.held = func(worker engine.Worker) bool { return blocked && strings.HasPrefix(worker.Name(), "apply") }
}

// A state machine that does not return from Update holds up neither heartbeats nor an election, on any host: the leader stays,
// and when it is lost another one is elected and commits, with nothing applied anywhere.
func TestABlockedStateMachineHoldsUpNoElection(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "before"); err != nil {
		t.Fatal(err)
	}
	c.run(time.Second)
	for _, h := range c.hosts {
		h.blockApply(true)
	}
	applied := map[*testHost]int{}
	for _, h := range c.hosts {
		applied[h] = len(h.machines[1].commands)
	}
	term := c.status(leader, 1).Term
	for range 20 {
		if err := leader.replicas[1].Propose([]byte("while blocked"), 0, func(rsm.Result, error) {}); err != nil {
			t.Fatal(err)
		}
		c.run(time.Second)
	}
	if status := c.status(leader, 1); status.Term != term || !leader.replicas[1].Leading() {
		t.Errorf("term %d became %d although nothing but state machines was slow", term, status.Term)
	}

	c.cutOff(leader, true)
	lost := c.now
	var next *testHost
	c.until(10*time.Second, "another one leads and has committed", func() bool {
		next = c.leader(1)
		if next == nil || next == leader {
			return false
		}
		status := c.status(next, 1)
		return status.Term > term && status.Commit == status.LastIndex
	})
	if took := time.Duration(c.now - lost); took > 5*time.Second {
		t.Errorf("that took %v", took)
	}
	for h, before := range applied {
		if after := len(h.machines[1].commands); after != before {
			t.Errorf("%s applied %d commands: its state machine was not blocked", h.address, after-before)
		}
	}

	for _, h := range c.hosts {
		h.blockApply(false)
	}
	c.cutOff(leader, false)
	if _, err := c.propose(next, 1, "after"); err != nil {
		t.Error(err)
	}
}
