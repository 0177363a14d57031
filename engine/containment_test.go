package engine_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
)

// A state machine that fails in the middle of a batch quarantines its replica only: its waiters get an answer, the neighbours go
// on, and another host leads its shard.
func TestAFailingStateMachineHurtsOnlyItsReplica(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1, 2)
	leader := c.waitLeader(1)
	c.waitLeader(2)
	leader.machines[1].fail = func(_ uint64, command []byte) error {
		if bytes.Equal(command, []byte("poison")) {
			panic("poisoned")
		}
		return nil
	}
	answers := map[string]error{}
	for _, command := range []string{"a", "poison", "b"} {
		if err := leader.replicas[1].Propose([]byte(command), 0, func(_ rsm.Result, err error) { answers[command] = err }); err != nil {
			t.Fatal(err)
		}
	}
	c.until(10*time.Second, "answered", func() bool { return len(answers) == 3 })
	for command, err := range answers {
		if !errors.Is(err, engine.ErrQuarantined) || !engine.MaybeApplied(err) {
			t.Errorf("%q ended with %v", command, err)
		}
	}
	if _, err := c.propose(leader, 1, "later"); !errors.Is(err, engine.ErrQuarantined) {
		t.Errorf("a quarantined replica says %v", err)
	}
	if err := leader.replicas[1].Read("count", func(any, error) {}); !errors.Is(err, rsm.ErrQuarantined) {
		t.Errorf("a read there says %v", err)
	}
	c.until(30*time.Second, "another host leads", func() bool { l := c.leader(1); return l != nil && l != leader })
	if _, err := c.propose(c.leader(1), 1, "after"); err != nil {
		t.Errorf("the shard does not go on: %v", err)
	}
	if _, err := c.propose(c.leader(2), 2, "neighbour"); err != nil {
		t.Errorf("the neighbour does not go on: %v", err)
	}
	// It goes on acknowledging: with another host gone the shard still has its quorum.
	for _, h := range c.hosts {
		if h != leader && h != c.leader(1) {
			h.engine.StopReplica(h.replicas[1], func(error) {})
		}
	}
	if _, err := c.propose(c.leader(1), 1, "on two"); err != nil {
		t.Errorf("the quarantined replica does not acknowledge: %v", err)
	}
	found := false
	for _, event := range c.events {
		found = found || event.Kind == engine.EventReplicaQuarantined && event.ShardID == 1 && event.Err != nil
	}
	if !found {
		t.Error("no event says so")
	}
}

func readBatches(t *testing.T, h *testHost, replica, index uint64) []byte {
	t.Helper()
	batches, err := h.log.Read(keyOf(1, replica), index, index, 1<<20, nil)
	if err != nil || len(batches) != 1 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	return batches[0]
}

// An iteration with nothing due touches no replica, however many there are.
func TestNothingDueTouchesNoReplica(t *testing.T) {
	const replicas = 10_000
	c := newTestCluster(t, 1, nil)
	h := c.hosts[0]
	for shard := uint64(1); shard <= replicas; shard++ {
		h.start(engine.ReplicaOptions{
			ShardID: shard, ReplicaID: 1, Members: c.members(),
			Raft: raft.Options{ElectionTimeout: time.Hour, HeartbeatInterval: time.Minute},
		})
	}
	c.until(time.Minute, "all started", func() bool { return len(h.replicas) == replicas && !h.workers[0].Ready() })
	c.run(time.Second)
	before := h.engine.Counters()
	for range 1000 {
		c.now += raft.Instant(time.Microsecond)
		h.workers[0].RunOnce(c.now)
	}
	after := h.engine.Counters()
	if after.StepIterations-before.StepIterations != 1000 {
		t.Fatalf("%d iterations", after.StepIterations-before.StepIterations)
	}
	if touched := after.ReplicasTouched - before.ReplicasTouched; touched != 0 {
		t.Errorf("%d replicas were touched", touched)
	}
}

// A request without a quorum ends with an unknown outcome, not never (R3).
func TestARequestWithoutAQuorumEnds(t *testing.T) {
	c := newTestCluster(t, 3, func(o *engine.Options) { o.RequestTimeout = time.Second })
	c.start(1)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "before"); err != nil {
		t.Fatal(err)
	}
	for _, h := range c.hosts {
		if h != leader {
			h.engine.StopReplica(h.replicas[1], func(error) {})
		}
	}
	c.run(10 * time.Millisecond)
	_, err := c.propose(leader, 1, "lost")
	if !engine.MaybeApplied(err) {
		t.Errorf("ended with %v", err)
	}
	readErr := error(nil)
	open := true
	if err := leader.replicas[1].Read("count", func(_ any, err error) { readErr, open = err, false }); err != nil {
		readErr, open = err, false
	}
	c.until(time.Minute, "the read ended", func() bool { return !open })
	if readErr == nil {
		t.Error("a read without a quorum was answered")
	}
}

// Followers forward proposals and reads, and learn the outcome.
func TestFollowersForward(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	c.run(time.Second)
	for _, h := range c.hosts {
		if h == leader {
			continue
		}
		if _, err := c.propose(h, 1, "forwarded from "+h.address); err != nil {
			t.Errorf("%s: %v", h.address, err)
		}
		open := true
		if err := h.replicas[1].Read("count", func(value any, err error) {
			open = false
			if err != nil || value.(int) < 1 {
				t.Errorf("read at %s: %v, %v", h.address, value, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		c.until(10*time.Second, "read", func() bool { return !open })
	}
}

// A proposal for a term enters the log in that term only.
func TestAProposalForAnotherTermIsRefused(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	_, term := leader.replicas[1].Leader()
	for _, try := range []struct {
		term uint64
		want error
	}{{term, nil}, {term + 1, engine.ErrTermMismatch}, {term - 1, engine.ErrTermMismatch}} {
		if try.term == 0 {
			continue
		}
		err := errors.New("open")
		open := true
		if refused := leader.replicas[1].Propose([]byte("x"), try.term, func(_ rsm.Result, e error) { err, open = e, false }); refused != nil {
			t.Fatal(refused)
		}
		c.until(10*time.Second, "outcome", func() bool { return !open })
		if !errors.Is(err, try.want) {
			t.Errorf("term %d with leader's %d: %v", try.term, term, err)
		}
	}
}
