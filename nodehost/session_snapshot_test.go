package nodehost_test

import (
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// A call is applied and its answer lost; a snapshot is taken and the host started again from it. The call that is proposed once more gets
// the answer that it had, out of the snapshot.
func TestSessionsAreInSnapshots(t *testing.T) {
	c := newCluster(t, 1)
	sticking := newSticking()
	c.machine = func(int) rsm.StateMachine {
		machine := &savedJournal{}
		machine.hook = sticking.hook
		return machine
	}
	c.startAll(1)
	session := c.openSession(0, 1)
	if _, err := session.Propose(patient(t), []byte("before")); err != nil {
		t.Fatal(err)
	}
	call, err := sticking.lose(c, session)
	if !nodehost.MaybeApplied(err) {
		t.Fatal(err)
	}
	sticking.stuck.Store(false)
	close(sticking.release)
	index, err := c.shard(0, 1).Snapshot(patient(t))
	if err != nil || index == 0 {
		t.Fatalf("snapshot at %d: %v", index, err)
	}
	c.stop(0)
	c.start(0)
	c.startShards(0, 1)
	if err := session.Via(c.shard(0, 1)); err != nil {
		t.Fatal(err)
	}
	result, err := call.Propose(patient(t))
	if err != nil || result.Value != 2 || string(result.Data) != "stick" {
		t.Fatalf("proposed again: %+v, %v", result, err)
	}
	if _, err := session.Propose(patient(t), []byte("after")); err != nil {
		t.Fatal(err)
	}
	onceIn(t, c.read(0, 1), "before", "stick", "after")
}
