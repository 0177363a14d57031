package engine_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
	"github.com/flotilla-raft/flotilla/plugin/memnet"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/transport"
)

// runningHost is an engine with its goroutines.
type runningHost struct {
	id        uint64
	engine    *engine.Engine
	transport *memnet.Host
	replicas  []atomic.Pointer[engine.Replica] // by shard
}

// counter counts what it is given and checks its contract: never two calls of Update, or Update and Lookup, at once.
type counter struct {
	count    int // without a lock on purpose: the race detector looks after it
	slow     bool
	brittle  bool // panics now and then
	updating atomic.Bool
}

func (m *counter) Update(entries []rsm.Entry) error {
	if m.updating.Swap(true) {
		return fmt.Errorf("two updates at once")
	}
	defer m.updating.Store(false)
	for i := range entries {
		if m.brittle && rand.IntN(3000) == 0 {
			panic("brittle")
		}
		m.count++
		entries[i].Result = rsm.Result{Value: uint64(m.count)}
	}
	if m.slow {
		for range 1000 {
			runtime.Gosched()
		}
	}
	return nil
}

func (m *counter) Lookup(any) (any, error) { return m.count, nil }
func (m *counter) Close() error            { m.count = -1; return nil }

// lockedPromises is a promise store that may be called from anywhere.
type lockedPromises struct {
	mu sync.Mutex
	memoryPromises
}

func (p *lockedPromises) Promised(key logdb.ReplicaKey) raft.Promised {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.memoryPromises.Promised(key)
}

func (p *lockedPromises) Record(records []engine.PromiseRecord) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.memoryPromises.Record(records)
}

type runningCluster struct {
	t       *testing.T
	hosts   []*runningHost
	members map[uint64]string
	shards  uint64
	brittle bool // state machines and replicas fail now and then
}

func newRunningCluster(t *testing.T, shards uint64, brittle bool, faults memnet.Faults) *runningCluster {
	network, err := memnet.NewNetwork(memnet.Options{Seed: 1, Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	c := &runningCluster{t: t, members: map[uint64]string{}, shards: shards, brittle: brittle}
	for id := uint64(1); id <= 3; id++ {
		c.members[id] = fmt.Sprintf("host%d:1", id)
	}
	for id := uint64(1); id <= 3; id++ {
		h := &runningHost{id: id, replicas: make([]atomic.Pointer[engine.Replica], shards+1)}
		h.transport = network.Host(transport.HostIdentity{Deployment: "test", HostID: id, Epoch: 1, Address: c.members[id]})
		h.engine, err = engine.New(engine.Options{
			Address:        c.members[id],
			LogDB:          modellog.New(modellog.Options{Automatic: true}),
			Transport:      h.transport,
			Cache:          logdb.NewCache(logdb.CacheOptions{}),
			Promises:       &lockedPromises{memoryPromises: memoryPromises{records: map[logdb.ReplicaKey]raft.Promised{}}},
			Random:         rand.Uint64,
			StepWorkers:    2,
			ApplyWorkers:   1,
			RequestTimeout: 2 * time.Second,
			MaxBatchBytes:  4 << 10,
			MaxOpenBytes:   16 << 10,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.transport.Start(h.engine); err != nil {
			t.Fatal(err)
		}
		h.engine.Start()
		c.hosts = append(c.hosts, h)
	}
	network.Start()
	for _, h := range c.hosts {
		for shard := uint64(1); shard <= shards; shard++ {
			if err := c.start(h, shard); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

func (c *runningCluster) start(h *runningHost, shard uint64) error {
	done := make(chan error, 1)
	h.engine.StartReplica(engine.ReplicaOptions{
		ShardID: shard, ReplicaID: h.id, Members: c.members,
		Raft: raft.Options{ElectionTimeout: 100 * time.Millisecond, HeartbeatInterval: 10 * time.Millisecond},
	}, func(uint64, uint64) (rsm.StateMachine, error) {
		return &counter{slow: shard == 1, brittle: c.brittle}, nil
	}, func(r *engine.Replica, err error) {
		if err == nil {
			h.replicas[shard].Store(r)
		}
		done <- err
	})
	return <-done
}

func (c *runningCluster) stop(h *runningHost, shard uint64) error {
	done := make(chan error, 1)
	h.engine.StopReplica(h.replicas[shard].Load(), func(err error) { done <- err })
	return <-done
}

func (c *runningCluster) close() {
	for _, h := range c.hosts {
		for shard := uint64(1); shard <= c.shards; shard++ {
			if err := c.stop(h, shard); err != nil {
				c.t.Errorf("stop shard %d of host %d: %v", shard, h.id, err)
			}
		}
	}
	for _, h := range c.hosts {
		if err := h.transport.Close(); err != nil {
			c.t.Error(err)
		}
		if err := h.engine.Stop(); err != nil {
			c.t.Error(err)
		}
	}
}

// outcomes counts what was accepted and what was answered.
type outcomes struct {
	accepted, answered, applied, served atomic.Int64
	doubled                             atomic.Int64
}

// expect returns a function that is to be called once.
func (o *outcomes) expect(good *atomic.Int64) func(error) {
	var answers atomic.Int32
	return func(err error) {
		if answers.Add(1) > 1 {
			o.doubled.Add(1)
		}
		o.answered.Add(1)
		if err == nil {
			good.Add(1)
		}
	}
}

// request makes one request of a kind drawn at random. A blocking one waits, an asynchronous one does not.
func (o *outcomes) request(r *engine.Replica, random *rand.Rand, pending *sync.WaitGroup) {
	command := make([]byte, random.IntN(200))
	switch random.IntN(4) {
	case 0:
		pending.Add(1)
		done := o.expect(&o.applied)
		if err := r.Propose(command, 0, func(_ rsm.Result, err error) { done(err); pending.Done() }); err != nil {
			pending.Done()
			return
		}
		o.accepted.Add(1)
	case 1:
		ticket, err := r.ProposeTicket(command, 0)
		if err != nil {
			return
		}
		o.accepted.Add(1)
		<-ticket.Done()
		_, err = ticket.Outcome()
		o.expect(&o.applied)(err)
	case 2:
		pending.Add(1)
		done := o.expect(&o.served)
		if err := r.Read(nil, func(_ any, err error) { done(err); pending.Done() }); err != nil {
			pending.Done()
			return
		}
		o.accepted.Add(1)
	default:
		ticket, err := r.ReadTicket()
		if err != nil {
			return
		}
		o.accepted.Add(1)
		<-ticket.Done()
		if err = ticket.Err(); err == nil {
			_, err = r.Lookup(nil)
		}
		o.expect(&o.served)(err)
	}
}

// Three hosts with their goroutines under load, while replicas are stopped and started all the time: every accepted request ends
// exactly once (R3), nothing races, nothing is left running.
func TestRunningHostsAnswerEverythingAndLeakNothing(t *testing.T) {
	defer leaktest.Verify(t, goleak.IgnoreCurrent())
	c := newRunningCluster(t, 4, false, memnet.Faults{})
	o := c.load(12, 1000)
	for _, h := range c.hosts {
		if n := h.engine.Counters().ReplicasFenced; n > 0 {
			t.Errorf("host %d: %d replicas fenced", h.id, n)
		}
	}
	t.Logf("%d applied, %d served of %d", o.applied.Load(), o.served.Load(), o.accepted.Load())
}

// The same on a bad network, with state machines that panic and replicas that are fenced in between.
func TestRunningHostsAnswerEverythingWhateverFails(t *testing.T) {
	defer leaktest.Verify(t, goleak.IgnoreCurrent())
	c := newRunningCluster(t, 4, true, memnet.Faults{Loss: 0.01, Duplicate: 0.02, Reorder: 0.02, DelayMax: time.Millisecond})
	o := c.load(20, 100)
	t.Logf("%d applied, %d served of %d", o.applied.Load(), o.served.Load(), o.accepted.Load())
}

// load runs clients on all hosts until replicas were restarted so many times and at least so many proposals and reads have
// succeeded, closes the cluster and checks the account.
func (c *runningCluster) load(restarts int, succeeded int64) *outcomes {
	const clients = 6
	o := &outcomes{}
	var running, pending sync.WaitGroup
	var restarted atomic.Bool
	for client := range clients {
		random := rand.New(rand.NewPCG(1, uint64(client)))
		running.Go(func() {
			for !restarted.Load() || o.applied.Load() < succeeded || o.served.Load() < succeeded {
				o.request(c.any(random), random, &pending)
			}
		})
	}
	running.Go(func() {
		defer restarted.Store(true)
		random := rand.New(rand.NewPCG(2, 2))
		for range restarts {
			c.restart(random, o)
		}
	})
	running.Wait()
	c.close()
	pending.Wait() // hangs if a request is forgotten
	if accepted, answered := o.accepted.Load(), o.answered.Load(); accepted != answered || o.doubled.Load() > 0 {
		c.t.Errorf("%d accepted, %d answered, %d twice", accepted, answered, o.doubled.Load())
	}
	return o
}

func (c *runningCluster) any(random *rand.Rand) *engine.Replica {
	return c.hosts[random.IntN(len(c.hosts))].replicas[1+random.Uint64N(c.shards)].Load()
}

// restart stops a replica and starts it again, fences another if the cluster is a brittle one, and lets the load go on a little.
func (c *runningCluster) restart(random *rand.Rand, o *outcomes) {
	h, shard := c.hosts[random.IntN(len(c.hosts))], 1+random.Uint64N(c.shards)
	if err := c.stop(h, shard); err != nil {
		c.t.Errorf("stop: %v", err)
	}
	if err := c.start(h, shard); err != nil {
		c.t.Errorf("start: %v", err)
		return
	}
	if c.brittle && random.IntN(2) == 0 {
		c.any(random).Sabotage()
	}
	applied, answered := o.applied.Load()+50, o.answered.Load()+2000 // whatever comes first: too much may have failed
	for o.applied.Load() < applied && o.answered.Load() < answered {
		runtime.Gosched()
	}
}
