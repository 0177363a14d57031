package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
)

// A shard that was idle when the state of the storage changed knows of it when a request comes, although nothing else did: a full
// disk refuses its first proposal, and takes its first one when there is room again (R10, R13).
func TestAnIdleShardKnowsTheStorageWhenARequestComes(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	c.start(1)
	h := c.waitLeader(1)
	r := h.replicas[1]
	c.run(time.Second)
	propose := func() error {
		err := errors.New("open")
		if refused := r.Propose([]byte("x"), 0, func(_ rsm.Result, e error) { err = e }); refused != nil {
			return refused
		}
		for c.step() { // the clock stands still: no timer of the shard helps
		}
		return err
	}
	if err := propose(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h.engine.SetDiskFull(true)
		if err := propose(); !errors.Is(err, engine.ErrDiskFull) {
			t.Errorf("on a full disk: %v", err)
		}
		h.engine.SetDiskFull(false)
		if err := propose(); err != nil {
			t.Errorf("with room again: %v", err)
		}
	}
}

// A shard whose write is held up looks after its waiting proposals now and then, not every millisecond.
func TestAHeldWriteIsNotPolled(t *testing.T) {
	c := newTestCluster(t, 1, func(o *engine.Options) { o.MaxStall = time.Hour })
	c.start(1)
	h := c.waitLeader(1)
	h.log.SetAutomatic(false)
	if err := h.replicas[1].Propose([]byte("x"), 0, func(rsm.Result, error) {}); err != nil {
		t.Fatal(err)
	}
	c.run(300 * time.Millisecond)
	before := h.engine.Counters().ReplicasTouched
	c.run(5 * time.Second)
	if touched := h.engine.Counters().ReplicasTouched - before; touched > 300 {
		t.Errorf("touched %d times in 5 s with nothing to do", touched)
	}
}
