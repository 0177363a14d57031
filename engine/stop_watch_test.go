package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
)

// Stopping a replica whose state machine does not return ends with an error that says so after MaxStopWait, once; the shard counts
// as started until the state machine does return.
func TestAReplicaThatDoesNotStopIsReported(t *testing.T) {
	c := newTestCluster(t, 1, func(o *engine.Options) { o.MaxStopWait = 3 * time.Second })
	c.start(1, 2)
	h := c.waitLeader(1)
	c.waitLeader(2)
	h.held = func(worker engine.Worker) bool { return strings.HasPrefix(worker.Name(), "apply") }
	if err := h.replicas[1].Propose([]byte("x"), 0, nil); err != nil {
		t.Fatal(err)
	}
	c.run(time.Second)
	var answers []error
	began := c.now
	h.engine.StopReplica(h.replicas[1], func(err error) { answers = append(answers, err) })
	c.until(10*time.Second, "an answer", func() bool { return len(answers) > 0 })
	took := time.Duration(c.now - began)
	if !errors.Is(answers[0], engine.ErrStuck) || !engine.MaybeApplied(answers[0]) || !strings.Contains(answers[0].Error(), "shard 1, replica 1: its state machine") ||
		took < 3*time.Second || took > 4*time.Second {
		t.Errorf("%v after %v", answers[0], took)
	}
	started := func() (err error) {
		h.engine.StartReplica(engine.ReplicaOptions{ShardID: 1, ReplicaID: 1, Members: c.members()}, nil, func(_ *engine.Replica, e error) { err = e })
		return err
	}
	if err := started(); !errors.Is(err, engine.ErrAlreadyStarted) {
		t.Errorf("started beside the one that does not stop: %v", err)
	}
	h.held = nil
	c.run(time.Second)
	if len(answers) != 1 {
		t.Errorf("answered %d times", len(answers))
	}
	delete(h.replicas, 1)
	h.start(engine.ReplicaOptions{ShardID: 1, ReplicaID: 1, Members: c.members()})
	c.until(10*time.Second, "it runs again", func() bool { return h.replicas[1] != nil && h.replicas[1].Leading() })
}

// The same when it is the disk that does not return.
func TestAReplicaWhoseWritesDoNotEndIsReported(t *testing.T) {
	c := newTestCluster(t, 1, func(o *engine.Options) { o.MaxStopWait = 3 * time.Second })
	c.start(1)
	h := c.waitLeader(1)
	h.log.SetAutomatic(false)
	if err := h.replicas[1].Propose([]byte("x"), 0, nil); err != nil {
		t.Fatal(err)
	}
	c.run(time.Second)
	var answers []error
	h.engine.StopReplica(h.replicas[1], func(err error) { answers = append(answers, err) })
	c.until(10*time.Second, "an answer", func() bool { return len(answers) > 0 })
	if !errors.Is(answers[0], engine.ErrStuck) || !strings.Contains(answers[0].Error(), "its writes") {
		t.Error(answers[0])
	}
}
