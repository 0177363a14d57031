package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
)

// An assertion that fails in an apply worker fences the replica as one in its core does: who waits is answered, and the
// replica can be stopped.
func TestAnAssertionWhileApplyingFencesAndLeavesStoppable(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	c.start(1, 2)
	h := c.waitLeader(1)
	c.waitLeader(2)
	if _, err := c.propose(h, 1, "before"); err != nil {
		t.Fatal(err)
	}
	r := h.replicas[1]
	r.SabotageApply(h.machines[1])
	var errs []error
	for range 3 {
		if err := r.Propose([]byte("x"), 0, func(_ rsm.Result, err error) { errs = append(errs, err) }); err != nil {
			t.Fatal(err)
		}
	}
	answered := false // the read may come before what fails
	if err := r.Read(nil, func(any, error) { answered = true }); err != nil {
		t.Fatal(err)
	}
	c.until(10*time.Second, "all are answered", func() bool { return len(errs) == 3 && answered })
	for _, err := range errs {
		if !errors.Is(err, engine.ErrFenced) || !engine.MaybeApplied(err) {
			t.Errorf("a proposal ended with %v", err)
		}
	}
	stopped := false
	h.engine.StopReplica(r, func(error) { stopped = true })
	c.until(10*time.Second, "stopped", func() bool { return stopped })
	if _, err := c.propose(h, 2, "neighbour"); err != nil {
		t.Errorf("the neighbour does not go on: %v", err)
	}
}

// A completion that panics is its caller's affair.
func TestAPanickingCompletionHurtsNobody(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	c.start(1)
	h := c.waitLeader(1)
	r := h.replicas[1]
	answers := 0
	for range 3 {
		_ = r.Read(nil, func(any, error) { answers++; panic("completion") })
		_ = r.Propose([]byte("x"), 0, func(rsm.Result, error) { answers++; panic("completion") })
	}
	c.until(10*time.Second, "all are answered", func() bool { return answers == 6 })
	if _, err := c.propose(h, 1, "after"); err != nil {
		t.Errorf("the shard does not go on: %v", err)
	}
	if n := h.engine.Counters().ReplicasFenced; n != 0 {
		t.Errorf("%d replicas fenced", n)
	}
}
