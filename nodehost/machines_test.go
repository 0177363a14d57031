package nodehost_test

import (
	"fmt"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/kv"
	"github.com/flotilla-raft/flotilla/rsm/pebblekv"
)

// The ready-made state machines in a group, with sessions and audits: a host that was away while the log was compacted is sent a snapshot, hosts are
// restarted, a call that is repeated afterwards is answered as it was at first, and nobody is found to have gone apart.
func TestReadyMadeMachines(t *testing.T) {
	for name, open := range map[string]func(dir string) (rsm.StateMachine, error){
		"in memory": func(string) (rsm.StateMachine, error) { return kv.New(), nil },
		"on disk":   func(dir string) (rsm.StateMachine, error) { return pebblekv.New(pebblekv.Options{Dir: dir}) },
	} {
		t.Run(name, func(t *testing.T) { useReadyMade(t, open) })
	}
}

func useReadyMade(t *testing.T, open func(dir string) (rsm.StateMachine, error)) {
	c := newCluster(t, 3)
	var installed atomic.Int32
	c.configure = func(_ int, config *nodehost.Config) {
		config.Events.SnapshotInstalled = func(nodehost.ReplicaName, uint64) { installed.Add(1) }
		config.Events.ReplicaQuarantined = func(replica nodehost.ReplicaName, err error) { t.Errorf("%v is quarantined: %v", replica, err) }
		config.Events.AuditUndecided = func(replica nodehost.ReplicaName, _ uint64) { t.Errorf("%v: the replicas differ", replica) }
	}
	start := func(i int) {
		c.start(i)
		replica := nodehost.ReplicaConfig{
			ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members(), Audit: 100 * time.Millisecond,
			Snapshots: nodehost.SnapshotPolicy{Entries: 50, KeepEntries: -1, Retain: 1},
		}
		factory := func(uint64, uint64) (rsm.StateMachine, error) { return open(filepath.Join(c.dirs[i], "machine")) }
		if err := c.hosts[i].StartReplica(patient(t), replica, factory); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		start(i)
	}
	put := func(from, to int) {
		for i := from; i < to; i++ {
			c.propose(0, 1, string(kv.Put(fmt.Append(nil, "key ", i%40), fmt.Append(nil, i))))
		}
	}
	put(0, 20)
	var session *nodehost.Session
	c.eventually("a session", func() (ok bool) {
		var err error
		session, err = c.shard(0, 1).OpenSession(patient(t))
		return err == nil
	})
	call := session.Call(kv.PutIfAbsent([]byte("mine"), []byte("once")))
	first, err := call.Propose(patient(t))
	if err != nil || !kv.OutcomeOf(first).Changed {
		t.Fatalf("%+v, %v", first, err)
	}
	c.stop(2)
	put(20, 400)
	c.compacted(0, 1)
	start(2)
	c.eventually("a snapshot is installed", func() bool { return installed.Load() > 0 })
	put(400, 420)
	c.stop(1)
	start(1)
	if err := session.Via(c.shard(2, 1)); err != nil {
		t.Fatal(err)
	}
	if again, err := call.Propose(patient(t)); err != nil || !reflect.DeepEqual(again, first) {
		t.Errorf("a call that is repeated has the result %+v, %v, it had %+v", again, err, first)
	}
	want := c.everything(0)
	if len(want.Items) != 41 {
		t.Errorf("%d keys, want 41", len(want.Items))
	}
	for i := 1; i < 3; i++ {
		if got := c.everything(i); !reflect.DeepEqual(got, want) {
			t.Errorf("host %d has %v, want %v", i+1, got, want)
		}
	}
}

func (c *cluster) everything(host int) (page kv.Page) {
	c.t.Helper()
	c.eventually("a read", func() bool {
		answer, err := c.shard(host, 1).Read(patient(c.t), kv.Range{})
		if err == nil {
			page = answer.(kv.Page)
		}
		return err == nil
	})
	return page
}
