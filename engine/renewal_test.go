package engine_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// wipe takes a host's log store away, and with promises true the record of promises too.
func (h *testHost) wipe(promises bool) {
	h.log = modellog.New(modellog.Options{Automatic: true})
	if promises {
		h.promises = &memoryPromises{records: map[logdb.ReplicaKey]raft.Promised{}}
	}
}

// crash ends a host's process where it is, and begins another one on what the disk has.
func (h *testHost) crash(change func(*engine.Options)) {
	_ = h.transport.Close()
	h.open(change)
}

func (c *testCluster) sawEvent(kind engine.EventKind, replica uint64) bool {
	return slices.ContainsFunc(c.events, func(e engine.Event) bool { return e.Kind == kind && e.ReplicaID == replica })
}

func (h *testHost) stored(t *testing.T, shard, replica uint64) raftpb.Stored {
	t.Helper()
	stored, err := h.log.Load(keyOf(shard, replica))
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// TestAWipedReplicaIsHealed loses a follower's log store with and without the record of promises: the replica begins anew under
// another incarnation, on the same handle, and has everything again; nothing of the former one is stored.
func TestAWipedReplicaIsHealed(t *testing.T) {
	for name, promises := range map[string]bool{"log store": false, "everything": true} {
		t.Run(name, func(t *testing.T) {
			c := newTestCluster(t, 3, nil)
			c.start(1)
			leader := c.waitLeader(1)
			if _, err := c.propose(leader, 1, "a"); err != nil {
				t.Fatal(err)
			}
			at := 0
			for c.hosts[at] == leader {
				at++
			}
			h, id := c.hosts[at], uint64(at+1)
			c.until(10*time.Second, "the promise is recorded", func() bool { return h.promises.records[keyOf(1, id)].Index > 2 })
			former := h.stored(t, 1, id).Bootstrap.Incarnation
			h.wipe(promises)
			h.crash(nil)
			h.start(engine.ReplicaOptions{ShardID: 1, ReplicaID: id, Members: c.members()})
			c.until(30*time.Second, "healed", func() bool { return c.sawEvent(engine.EventReplicaHealed, id) })
			r := h.replicas[1]
			c.until(10*time.Second, "it knows the leader", func() bool { leader, _ := r.Leader(); return leader != 0 })
			if _, err := c.propose(h, 1, "b"); err != nil {
				t.Fatalf("propose on the healed replica: %v", err)
			}
			c.until(10*time.Second, "everything applied", func() bool {
				return r.Applied() == leader.replicas[1].Applied() && len(h.machines[1].commands) == 2
			})
			if got := h.stored(t, 1, id).Bootstrap; got.Incarnation == former || !got.Join {
				t.Errorf("stored bootstrap %+v, former incarnation %x", got, former)
			}
			stopped := errors.New("open")
			h.engine.StopReplica(r, func(err error) { stopped = err })
			c.until(10*time.Second, "stopped", func() bool { return stopped == nil })
		})
	}
}

// TestAReplicaIsStoppedWhileItIsHealed stops a replica between the first and the last step of its renewal.
func TestAReplicaIsStoppedWhileItIsHealed(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "a"); err != nil {
		t.Fatal(err)
	}
	at := 0
	for c.hosts[at] == leader {
		at++
	}
	h, id := c.hosts[at], uint64(at+1)
	h.wipe(true)
	h.crash(nil)
	made := 0
	stopped, second := errors.New("open"), errors.New("open")
	factory := func(uint64, uint64) (rsm.StateMachine, error) {
		if made++; made == 2 { // on the apply worker, in the middle of the renewal
			h.engine.StopReplica(h.replicas[1], func(err error) { stopped = err })
			h.engine.StopReplica(h.replicas[1], func(err error) { second = err })
		}
		return &recorder{}, nil
	}
	h.engine.StartReplica(engine.ReplicaOptions{ShardID: 1, ReplicaID: id, Members: c.members()}, factory, func(r *engine.Replica, err error) {
		if err != nil {
			t.Error(err)
		}
		h.replicas[1] = r
	})
	c.until(30*time.Second, "stopped", func() bool { return stopped == nil })
	if !errors.Is(second, engine.ErrNotStarted) {
		t.Errorf("the second stop: %v", second)
	}
	delete(h.replicas, 1)
	h.start(engine.ReplicaOptions{ShardID: 1, ReplicaID: id, Members: c.members()})
	c.until(30*time.Second, "started again with everything", func() bool {
		return h.replicas[1] != nil && h.replicas[1].Applied() == leader.replicas[1].Applied()
	})
}

// TestAReplicaThatCannotBeginAnewSaysSo has a factory that fails the second time: nothing is removed, and after a restart the
// replica asks again.
func TestAReplicaThatCannotBeginAnewSaysSo(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "a"); err != nil {
		t.Fatal(err)
	}
	at := 0
	for c.hosts[at] == leader {
		at++
	}
	h, id := c.hosts[at], uint64(at+1)
	h.wipe(true)
	h.crash(nil)
	made := 0
	broken := errors.New("no more machines")
	factory := func(uint64, uint64) (rsm.StateMachine, error) {
		if made++; made == 2 {
			return nil, broken
		}
		return &recorder{}, nil
	}
	options := engine.ReplicaOptions{ShardID: 1, ReplicaID: id, Members: c.members()}
	start := func() {
		h.engine.StartReplica(options, factory, func(r *engine.Replica, err error) {
			if err != nil {
				t.Error(err)
			}
			h.replicas[1] = r
		})
	}
	start()
	c.until(30*time.Second, "failed", func() bool { return c.sawEvent(engine.EventReplicaHealFailed, id) })
	if _, err := c.propose(h, 1, "b"); !errors.Is(err, broken) {
		t.Errorf("propose: %v", err)
	}
	if stored := h.stored(t, 1, id); stored.Bootstrap.Join {
		t.Errorf("stored: %+v", stored.Bootstrap)
	}
	stopped := errors.New("open")
	h.engine.StopReplica(h.replicas[1], func(err error) { stopped = err })
	c.until(10*time.Second, "stopped", func() bool { return stopped == nil })
	start()
	c.until(30*time.Second, "healed after all", func() bool { return c.sawEvent(engine.EventReplicaHealed, id) })
}

// TestRequestsOfAShardThatLostItsQuorum: two of three lost everything. Whoever asks is told so, and nothing is thrown away.
func TestRequestsOfAShardThatLostItsQuorum(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "a"); err != nil {
		t.Fatal(err)
	}
	for i, h := range c.hosts {
		if h != leader {
			h.wipe(true)
		}
		h.crash(nil)
		h.start(engine.ReplicaOptions{ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members()})
	}
	c.until(30*time.Second, "everybody knows", func() bool {
		return c.sawEvent(engine.EventDataLost, 1) && c.sawEvent(engine.EventDataLost, 2) && c.sawEvent(engine.EventDataLost, 3)
	})
	for _, h := range c.hosts {
		if _, err := c.propose(h, 1, "b"); !errors.Is(err, engine.ErrDataLost) || engine.MaybeApplied(err) {
			t.Errorf("propose on %s: %v", h.address, err)
		}
		read := errors.New("open")
		if err := h.replicas[1].Read(nil, func(_ any, err error) { read = err }); err != nil {
			t.Fatal(err)
		}
		c.until(10*time.Second, "read", func() bool { return read == nil || read.Error() != "open" })
		if !errors.Is(read, engine.ErrDataLost) {
			t.Errorf("read on %s: %v", h.address, read)
		}
	}
	c.run(5 * time.Second)
	if c.sawEvent(engine.EventReplicaHealed, 1) || c.sawEvent(engine.EventReplicaHealed, 2) || c.sawEvent(engine.EventReplicaHealed, 3) {
		t.Error("a replica was healed without a quorum")
	}
}
