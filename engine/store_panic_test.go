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
	commit, read, save bool
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
