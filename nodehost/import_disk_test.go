package nodehost_test

import (
	"path/filepath"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/kv"
	"github.com/flotilla-raft/flotilla/rsm/pebblekv"
)

// TestImportOverAStateMachineOnDisk: its own data is ahead of the snapshot, and gives way to it; sessions that are in the snapshot go on.
func TestImportOverAStateMachineOnDisk(t *testing.T) {
	c := newCluster(t, 1)
	data := filepath.Join(t.TempDir(), "kv")
	c.machine = func(int) rsm.StateMachine {
		machine, err := pebblekv.New(pebblekv.Options{Dir: data})
		if err != nil {
			t.Error(err)
		}
		return machine
	}
	c.startAll(1)
	session := c.openSession(0, 1)
	put := func(key string) {
		t.Helper()
		if _, err := session.Propose(patient(t), kv.Put([]byte(key), []byte("value"))); err != nil {
			t.Fatal(err)
		}
	}
	has := func(key string) bool {
		t.Helper()
		value, err := c.shard(0, 1).Read(patient(t), kv.Get{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		return value.(kv.Value).Exists
	}
	put("before")
	file := c.exportOf(0, t.TempDir())
	put("after")
	if _, err := c.shard(0, 1).Snapshot(patient(t)); err != nil { // it is durable
		t.Fatal(err)
	}
	c.stop(0)
	if _, err := nodehost.ImportSnapshot(nodehost.ImportOptions{
		Dir: c.dirs[0], File: file, ShardID: 1, ReplicaID: 1, Members: map[uint64]string{1: c.addresses[0]}, Force: true,
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second start does not recover again
		c.start(0)
		c.startShards(0, 1)
		if err := session.Via(c.shard(0, 1)); err != nil {
			t.Fatal(err)
		}
		put("anew")
		if !has("before") || has("after") || !has("anew") {
			t.Errorf("before the export: %v, after it: %v, after the import: %v", has("before"), has("after"), has("anew"))
		}
		c.stop(0)
	}
}
