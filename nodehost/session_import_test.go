package nodehost_test

import (
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// A call is applied and its answer lost; the state is exported, the host is gone, and the shard is rebuilt elsewhere from the export. The call that
// is proposed once more there gets the answer that it had, and the session goes on.
func TestASessionGoesOnInAnImportedShard(t *testing.T) {
	lost := newCluster(t, 1)
	sticking := newSticking()
	lost.machine = func(int) rsm.StateMachine {
		machine := &savedJournal{}
		machine.hook = sticking.hook
		return machine
	}
	lost.startAll(1)
	session := lost.openSession(0, 1)
	if _, err := session.Propose(patient(t), []byte("before")); err != nil {
		t.Fatal(err)
	}
	call, err := sticking.lose(lost, session)
	if !nodehost.MaybeApplied(err) {
		t.Fatal(err)
	}
	sticking.stuck.Store(false)
	close(sticking.release)
	onceIn(t, lost.read(0, 1), "before", "stick")
	file := lost.exportOf(0, t.TempDir())
	lost.stop(0)

	c := newCluster(t, 1)
	options := nodehost.ImportOptions{
		Dir: c.dirs[0], Address: c.addresses[0], File: file, ShardID: 1, ReplicaID: 11, Members: c.numbered(11), Recovery: 1,
	}
	if _, err := nodehost.ImportSnapshot(options); err != nil {
		t.Fatal(err)
	}
	c.start(0)
	c.startNumbered(0, 11, &savedJournal{})
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
