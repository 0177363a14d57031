package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
)

// When a removal is reported done, what the replica had promised is forgotten as well: started anew under the same IDs at that very
// moment, it does not take itself for one that has lost its log.
func TestARemovedReplicaIsForgottenWhenItsRemovalIsDone(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	c.start(1)
	h := c.waitLeader(1)
	if _, err := c.propose(h, 1, "x"); err != nil {
		t.Fatal(err)
	}
	c.run(2 * time.Second)
	if h.promises.Promised(keyOf(1, 1)) == (raft.Promised{}) {
		t.Fatal("nothing was recorded")
	}
	stopped, removed := false, false
	h.engine.StopReplica(h.replicas[1], func(error) { stopped = true })
	c.until(time.Second, "stopped", func() bool { return stopped })
	h.engine.RemoveReplicaData(1, 1, func(err error) {
		removed = true
		if err != nil {
			t.Errorf("remove: %v", err)
		}
		if got := h.promises.Promised(keyOf(1, 1)); got != (raft.Promised{}) {
			t.Errorf("still promised: %+v", got)
		}
	})
	c.until(time.Second, "removed", func() bool { return removed })
}

// Every operation on a host whose log store has failed says so by the same error.
func TestARemovalOnAFailedStoreSaysSo(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	h := c.hosts[0]
	h.log.Fail(errors.New("no more"))
	err := errors.New("open")
	h.engine.RemoveReplicaData(1, 1, func(e error) { err = e })
	c.until(time.Second, "answered", func() bool { return err == nil || err.Error() != "open" })
	if !errors.Is(err, engine.ErrStorageFailed) {
		t.Errorf("got %v", err)
	}
	again := false
	h.engine.RemoveReplicaData(1, 1, func(e error) { again = errors.Is(e, engine.ErrStorageFailed) })
	c.until(time.Second, "answered again", func() bool { return again })
}
