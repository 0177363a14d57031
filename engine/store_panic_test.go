package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// brittleLog is a log store that panics when told to.
type brittleLog struct {
	*modellog.Log
	commit, read, save, load, remove bool
}

// brittleGroup panics in the middle of what it is given.
type brittleGroup struct {
	logdb.Group
	log *brittleLog
}

func (g *brittleGroup) Save(save *raftpb.Save) error {
	if g.log.save {
		panic("save")
	}
	return g.Group.Save(save)
}

func (g *brittleGroup) Remove(key logdb.ReplicaKey) {
	if g.log.remove {
		panic("remove")
	}
	g.Group.Remove(key)
}

func (l *brittleLog) Load(key logdb.ReplicaKey) (raftpb.Stored, error) {
	if l.load {
		panic("load")
	}
	return l.Log.Load(key)
}

func (l *brittleLog) NewGroup() logdb.Group { return &brittleGroup{l.Log.NewGroup(), l} }

func (l *brittleLog) Commit(groups []logdb.Group, done func(error)) {
	if l.commit {
		panic("commit")
	}
	plain := make([]logdb.Group, len(groups))
	for i, group := range groups {
		plain[i] = group.(*brittleGroup).Group
	}
	l.Log.Commit(plain, done)
}

// The same while a step worker fills a group.
func TestALogStoreThatPanicsInAGroupIsAFailedOne(t *testing.T) {
	store := &brittleLog{Log: modellog.New(modellog.Options{Automatic: true})}
	c := newTestCluster(t, 1, func(o *engine.Options) { o.LogDB = store })
	c.start(1)
	h := c.waitLeader(1)
	store.save = true
	if err := h.replicas[1].Propose([]byte("x"), 0, func(_ rsm.Result, err error) {
		if err == nil {
			t.Error("acknowledged")
		}
	}); err != nil {
		t.Fatal(err)
	}
	c.run(100 * time.Millisecond)
	if h.engine.StorageFailure() == nil {
		t.Error("the engine does not know")
	}
}

func (l *brittleLog) Read(key logdb.ReplicaKey, from, to uint64, maxBytes int, into []raftpb.Batch) ([]raftpb.Batch, error) {
	if l.read {
		panic("read")
	}
	return l.Log.Read(key, from, to, maxBytes, into)
}

// A log store that panics has failed, like one that returns an error: the host's latch is set, what waits for the write is
// answered, and the process goes on (R9).
func TestAPanickingLogStoreIsAFailedOne(t *testing.T) {
	store := &brittleLog{Log: modellog.New(modellog.Options{Automatic: true})}
	c := newTestCluster(t, 1, func(o *engine.Options) { o.LogDB = store })
	c.start(1)
	h := c.waitLeader(1)
	store.commit = true
	if err := h.replicas[1].Propose([]byte("x"), 0, func(rsm.Result, error) {}); err != nil {
		t.Fatal(err)
	}
	c.run(100 * time.Millisecond)
	if h.engine.StorageFailure() == nil {
		t.Error("the engine does not know")
	}
	stopped, started := false, errors.New("open")
	h.engine.StopReplica(h.replicas[1], func(error) { stopped = true })
	c.until(time.Second, "stopped", func() bool { return stopped })
	h.engine.StartReplica(engine.ReplicaOptions{ShardID: 2, ReplicaID: 1, Members: c.members()},
		func(uint64, uint64) (rsm.StateMachine, error) { return &recorder{}, nil },
		func(_ *engine.Replica, err error) { started = err })
	c.until(time.Second, "the start is refused", func() bool { return errors.Is(started, engine.ErrStorageFailed) })
}

// A read of the log that panics is a failed read: it is tried again.
func TestAPanickingLogReadIsAFailedOne(t *testing.T) {
	store := &brittleLog{Log: modellog.New(modellog.Options{Automatic: true})}
	c := newTestCluster(t, 1, func(o *engine.Options) { o.LogDB = store })
	c.start(1)
	h := c.waitLeader(1)
	if _, err := c.propose(h, 1, "x"); err != nil {
		t.Fatal(err)
	}
	stopped := false
	h.engine.StopReplica(h.replicas[1], func(error) { stopped = true })
	c.until(time.Second, "stopped", func() bool { return stopped })
	store.read = true
	delete(h.machines, 1)
	delete(h.replicas, 1)
	c.start(1) // rebuilds the state machine from the log
	for range 1000 {
		if !c.step() {
			c.advance()
		}
	}
	store.read = false
	c.until(30*time.Second, "rebuilt", func() bool { return len(h.machines[1].commands) == 1 })
}

// A log store that panics on the goroutine of whoever starts a replica, or removes one's data, has failed as well, and its caller is told so.
func TestALogStoreThatPanicsAtAStartOrARemovalIsAFailedOne(t *testing.T) {
	for name, breaks := range map[string]func(*brittleLog){
		"load": func(l *brittleLog) { l.load = true }, "save": func(l *brittleLog) { l.save = true }, "remove": func(l *brittleLog) { l.remove = true },
	} {
		store := &brittleLog{Log: modellog.New(modellog.Options{Automatic: true})}
		c := newTestCluster(t, 1, func(o *engine.Options) { o.LogDB = store })
		h := c.hosts[0]
		breaks(store)
		answer := errors.New("open")
		if name == "remove" {
			h.engine.RemoveReplicaData(2, 1, func(err error) { answer = err })
		} else {
			h.engine.StartReplica(engine.ReplicaOptions{ShardID: 2, ReplicaID: 1, Members: c.members()},
				func(uint64, uint64) (rsm.StateMachine, error) { return &recorder{}, nil },
				func(_ *engine.Replica, err error) { answer = err })
		}
		c.run(100 * time.Millisecond)
		if !errors.Is(answer, engine.ErrStorageFailed) || h.engine.StorageFailure() == nil {
			t.Errorf("%s: %v, the engine's failure is %v", name, answer, h.engine.StorageFailure())
		}
	}
}

// A log store that panics while a healed replica begins anew: the replica says that it cannot, and the process goes on. The panic once came
// a second time from the clearing up after the first, and ended the process.
func TestALogStoreThatPanicsDuringARenewalIsAFailedOne(t *testing.T) {
	stores := map[int]*brittleLog{}
	c := newTestCluster(t, 3, func(o *engine.Options) {
		store := &brittleLog{Log: modellog.New(modellog.Options{Automatic: true})}
		stores[len(stores)], o.LogDB = store, store
	})
	c.start(1)
	leader := c.waitLeader(1)
	place := 0
	for i, h := range c.hosts {
		if h != leader {
			place = i
		}
	}
	c.run(time.Second)
	failed := false
	stores[place].remove = true
	c.hosts[place].replicas[1].Repair(func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	c.until(30*time.Second, "the renewal failed", func() bool {
		for _, event := range c.events {
			failed = failed || event.Kind == engine.EventReplicaHealFailed && errors.Is(event.Err, engine.ErrStorageFailed)
		}
		return failed
	})
	stopped := false
	c.hosts[place].engine.StopReplica(c.hosts[place].replicas[1], func(error) { stopped = true })
	c.until(30*time.Second, "stopped", func() bool { return stopped })
}
