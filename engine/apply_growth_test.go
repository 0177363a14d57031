package engine

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
	"github.com/flotilla-raft/flotilla/plugin/memnet"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/transport"
)

type noPromises struct{}

func (noPromises) Promised(logdb.ReplicaKey) raft.Promised { return raft.Promised{} }
func (noPromises) Record([]PromiseRecord) error            { return nil }

// newBareEngine returns an engine of one step and one apply worker, without replicas.
func newBareEngine(t *testing.T) *Engine {
	t.Helper()
	network, err := memnet.NewNetwork(memnet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Options{
		Address:         "a",
		LogDB:           modellog.New(modellog.Options{Automatic: true}),
		Transport:       network.Host(transport.HostIdentity{HostID: 1, Epoch: 1, Address: "a"}),
		Cache:           logdb.NewCache(logdb.CacheOptions{}),
		Promises:        noPromises{},
		Random:          func() uint64 { return 1 },
		StepWorkers:     1,
		ApplyWorkers:    1,
		MaxApplyWorkers: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A replica that waits while every apply worker is held up gets a worker in time, also when nothing else happens on the host: the
// step worker that handed it over asks to be run again.
func TestAHeldUpApplyPoolGrowsWithoutFurtherInput(t *testing.T) {
	e := newBareEngine(t)
	grown := 0
	e.apply.grow = func(Worker) { grown++ }
	now := raft.Instant(time.Second)
	held := e.apply.workers[0]
	e.apply.submit([]*Replica{{}})
	e.apply.take(held)
	held.since.Store(int64(now))
	e.apply.submit([]*Replica{{}})
	deadline := e.workers[0].RunOnce(now)
	if grown != 0 || deadline == raft.Never {
		t.Fatalf("grown by %d, next look at %d", grown, deadline)
	}
	if deadline = e.workers[0].RunOnce(deadline); grown != 1 {
		t.Errorf("grown by %d after %v, next look at %d", grown, growAfter, deadline)
	}
	if len(e.apply.workers) != 2 {
		t.Errorf("%d workers", len(e.apply.workers))
	}
	if deadline != raft.Never {
		t.Errorf("looks again at %d although there may be no more workers", deadline)
	}
}

// The pool may want to grow while the engine stops: neither waits for the other.
func TestGrowingMeetsStop(t *testing.T) {
	e := newBareEngine(t)
	e.Start()
	e.stopper.RunWorker(func() {
		<-e.stopper.ShouldStop()
		e.spawn(e.apply.workers[0])
	})
	if err := e.Stop(); err != nil {
		t.Error(err)
	}
}
