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

// A worker that the pool grew by ends when it has had nothing to do for a while; the first ones stay.
func TestTheApplyPoolShrinksAgain(t *testing.T) {
	e := newBareEngine(t)
	var grown []Worker
	e.apply.grow = func(w Worker) { grown = append(grown, w) }
	now := raft.Instant(time.Second)
	held := e.apply.workers[0]
	idle := &Replica{}
	idle.applyQueue.scheduled = true
	e.apply.submit([]*Replica{{}})
	e.apply.take(held)
	held.since.Store(int64(now))
	e.apply.submit([]*Replica{idle})
	now += raft.Instant(growAfter)
	e.apply.watch(now)
	if len(grown) != 1 {
		t.Fatalf("grown by %d", len(grown))
	}
	extra := grown[0].(*applyWorker)
	extra.RunOnce(now) // it finds the replica without work
	deadline := extra.RunOnce(now)
	if deadline != now+raft.Instant(shrinkAfter) || extra.sig.ended.Load() {
		t.Fatalf("an idle worker above the first number looks again after %v", time.Duration(deadline-now))
	}
	// Work comes in between: the time begins anew.
	now += raft.Instant(shrinkAfter) / 2
	e.apply.submit([]*Replica{idle})
	if !extra.sig.ready() {
		t.Fatal("the idle worker was not woken")
	}
	extra.RunOnce(now)
	if deadline = extra.RunOnce(now); deadline != now+raft.Instant(shrinkAfter) {
		t.Fatalf("looks again after %v", time.Duration(deadline-now))
	}
	if got := extra.RunOnce(deadline); got != raft.Never || !extra.sig.ended.Load() {
		t.Errorf("after its time it runs again at %d, ended %t", got, extra.sig.ended.Load())
	}
	if len(e.apply.workers) != 1 || e.apply.workers[0] != held || len(e.apply.idle) != 0 {
		t.Errorf("%d workers, %d idle", len(e.apply.workers), len(e.apply.idle))
	}
	e.apply.submit([]*Replica{idle})
	if extra.sig.ready() {
		t.Error("a worker that has ended was woken")
	}
}
