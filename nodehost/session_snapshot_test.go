package nodehost_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// A call is applied and its answer lost; a snapshot is taken and the host started again from it. The call that is proposed once more gets
// the answer that it had, out of the snapshot.
func TestSessionsAreInSnapshots(t *testing.T) {
	c := newCluster(t, 1)
	var stuck, entered atomic.Bool
	release := make(chan struct{})
	c.machine = func(int) rsm.StateMachine {
		machine := &savedJournal{}
		machine.hook = func(command string) error {
			if command == "stick" && stuck.Load() {
				entered.Store(true)
				<-release
			}
			return nil
		}
		return machine
	}
	c.startAll(1)
	session := c.openSession(0, 1)
	if _, err := session.Propose(patient(t), []byte("before")); err != nil {
		t.Fatal(err)
	}
	stuck.Store(true)
	call := session.Call([]byte("stick"))
	ctx, cancel := context.WithCancel(patient(t))
	lost := make(chan error, 1)
	go func() {
		_, err := call.Propose(ctx)
		lost <- err
	}()
	c.eventually("committed", entered.Load)
	cancel()
	if err := <-lost; !nodehost.MaybeApplied(err) {
		t.Fatal(err)
	}
	stuck.Store(false)
	close(release)
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
