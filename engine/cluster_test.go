package engine_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
	"github.com/flotilla-raft/flotilla/plugin/memnet"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/transport"
)

// testCluster is a few hosts driven by hand in one goroutine: it runs only workers that production would have run, a
// signalled one or one whose deadline has come, and moves its clock when there are none.
type testCluster struct {
	t       testing.TB
	now     raft.Instant
	network *memnet.Network
	hosts   []*testHost
	events  []engine.Event
	random  uint64
}

type testHost struct {
	cluster   *testCluster
	address   string
	epoch     uint64
	log       *modellog.Log
	promises  *memoryPromises
	engine    *engine.Engine
	transport *memnet.Host
	workers   []engine.Worker
	deadlines []raft.Instant
	replicas  map[uint64]*engine.Replica
	machines  map[uint64]*recorder
	wire      *wire
	held      func(engine.Worker) bool // workers that something outside holds up
	beside    *coroutines              // nil: those that call users are run like all others
}

// wire is the host's handler with a memory of the buffers that were received into.
type wire struct {
	transport.Handler
	chunks [][]byte
}

func (w *wire) NewChunk(size int) transport.Chunk {
	chunk := w.Handler.NewChunk(size)
	w.chunks = append(w.chunks, chunk.Bytes)
	return chunk
}

// recorder is a state machine that remembers what it was given.
type recorder struct {
	indexes  []uint64
	commands [][]byte
	fail     func(index uint64, command []byte) error
}

func (m *recorder) Update(entries []rsm.Entry) error {
	for i := range entries {
		if m.fail != nil {
			if err := m.fail(entries[i].Index, entries[i].Command); err != nil {
				return err
			}
		}
		m.indexes = append(m.indexes, entries[i].Index)
		m.commands = append(m.commands, entries[i].Command)
		entries[i].Result = rsm.Result{Value: uint64(len(m.commands))}
	}
	return nil
}

func (m *recorder) Lookup(query any) (any, error) {
	if err, ok := query.(error); ok {
		return nil, err
	}
	return len(m.commands), nil
}

func (m *recorder) Close() error { return nil }

type memoryPromises struct {
	records map[logdb.ReplicaKey]raft.Promised
	err     error
}

func (p *memoryPromises) Promised(key logdb.ReplicaKey) raft.Promised { return p.records[key] }

func (p *memoryPromises) Record(records []engine.PromiseRecord) error {
	for _, record := range records {
		if record.Forgotten {
			delete(p.records, record.Key)
			continue
		}
		p.records[record.Key] = record.Promised
	}
	return p.err
}

func newTestCluster(t testing.TB, hosts int, change func(*engine.Options)) *testCluster {
	network, err := memnet.NewNetwork(memnet.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := &testCluster{t: t, now: raft.Instant(time.Second), network: network, random: 1}
	for i := range hosts {
		h := &testHost{
			cluster:  c,
			address:  fmt.Sprintf("host%d:1", i+1),
			log:      modellog.New(modellog.Options{Automatic: true}),
			promises: &memoryPromises{records: map[logdb.ReplicaKey]raft.Promised{}},
		}
		c.hosts = append(c.hosts, h)
		h.open(change)
	}
	return c
}

func (c *testCluster) draw() uint64 {
	c.random += 0x9e3779b97f4a7c15
	z := c.random
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

func (h *testHost) open(change func(*engine.Options)) {
	c := h.cluster
	h.epoch++
	h.transport = c.network.Host(transport.HostIdentity{Deployment: "test", HostID: uint64(h.address[4]), Epoch: h.epoch, Address: h.address})
	options := engine.Options{
		Address:     h.address,
		LogDB:       h.log,
		Transport:   h.transport,
		Cache:       logdb.NewCache(logdb.CacheOptions{}),
		Promises:    h.promises,
		Random:      c.draw,
		StepWorkers: 1,
		Listener:    func(event engine.Event) { c.events = append(c.events, event) },
	}
	if change != nil {
		change(&options)
	}
	e, err := engine.New(options)
	if err != nil {
		c.t.Fatal(err)
	}
	h.engine, h.workers = e, e.Workers()
	h.deadlines = make([]raft.Instant, len(h.workers))
	for i := range h.deadlines {
		h.deadlines[i] = raft.Never
	}
	h.replicas, h.machines = map[uint64]*engine.Replica{}, map[uint64]*recorder{}
	h.wire = &wire{Handler: e}
	if err := h.transport.Start(h.wire); err != nil {
		c.t.Fatal(err)
	}
}

// step runs everything that production would run now and reports whether there was anything.
func (c *testCluster) step() bool {
	ran := false
	for _, h := range c.hosts {
		for i, worker := range h.workers {
			if h.held != nil && h.held(worker) {
				continue
			}
			due := worker.Ready() || h.deadlines[i] <= c.now
			if h.beside != nil && engine.CallsUser(worker) {
				if deadline, had := h.beside.run(worker, c.now, due); had {
					h.deadlines[i], ran = deadline, true
				}
				continue
			}
			if due {
				h.deadlines[i] = worker.RunOnce(c.now)
				ran = true
			}
		}
	}
	delivered, _ := c.network.RunOnce(int64(c.now))
	return ran || delivered > 0
}

// advance moves the clock to the next deadline.
func (c *testCluster) advance() {
	next := c.now + raft.Instant(10*time.Millisecond)
	for _, h := range c.hosts {
		for _, deadline := range h.deadlines {
			if deadline > c.now {
				next = min(next, deadline)
			}
		}
	}
	c.now = next
}

// until runs the cluster until the condition holds, for at most limit of its own time.
func (c *testCluster) until(limit time.Duration, what string, condition func() bool) {
	c.t.Helper()
	end := c.now + raft.Instant(limit)
	for !condition() {
		if !c.step() {
			c.advance()
		}
		if c.now > end {
			for _, h := range c.hosts {
				for _, r := range h.replicas {
					r.Status(func(s raft.Status, err error) { c.t.Logf("%s: %+v %v", h.address, s, err) })
				}
				h.workers[0].RunOnce(c.now)
			}
			c.t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// run lets the cluster go on for a while of its own time.
func (c *testCluster) run(d time.Duration) {
	for end := c.now + raft.Instant(d); c.now < end; {
		if !c.step() {
			c.advance()
		}
	}
}

func (c *testCluster) members() map[uint64]string {
	members := map[uint64]string{}
	for i, h := range c.hosts {
		members[uint64(i+1)] = h.address
	}
	return members
}

// start starts a shard on every host, replica i+1 on host i.
func (c *testCluster) start(shards ...uint64) {
	for i, h := range c.hosts {
		for _, shard := range shards {
			h.start(engine.ReplicaOptions{ShardID: shard, ReplicaID: uint64(i + 1), Members: c.members()})
		}
	}
	c.until(time.Second, "started", func() bool {
		for _, h := range c.hosts {
			for _, shard := range shards {
				if h.replicas[shard] == nil {
					return false
				}
			}
		}
		return true
	})
}

func (h *testHost) start(options engine.ReplicaOptions) {
	machine := &recorder{}
	if h.machines[options.ShardID] == nil {
		h.machines[options.ShardID] = machine
	}
	machine = h.machines[options.ShardID]
	h.engine.StartReplica(options, func(uint64, uint64) (rsm.StateMachine, error) { return machine, nil },
		func(r *engine.Replica, err error) {
			if err != nil {
				h.cluster.t.Errorf("start: %v", err)
			}
			h.replicas[options.ShardID] = r
		})
}

// leader returns the host that leads a shard, or nil.
func (c *testCluster) leader(shard uint64) *testHost {
	var found *testHost
	var foundTerm uint64
	for _, h := range c.hosts {
		if r := h.replicas[shard]; r != nil && r.Leading() {
			if _, term := r.Leader(); term >= foundTerm {
				found, foundTerm = h, term
			}
		}
	}
	return found
}

func (c *testCluster) waitLeader(shard uint64) *testHost {
	c.t.Helper()
	c.until(30*time.Second, fmt.Sprintf("shard %d has a leader", shard), func() bool { return c.leader(shard) != nil })
	return c.leader(shard)
}

// propose proposes on a host and waits for the outcome.
func (c *testCluster) propose(h *testHost, shard uint64, command string) (rsm.Result, error) {
	c.t.Helper()
	var result rsm.Result
	err := errors.New("open")
	open := true
	if refused := h.replicas[shard].Propose([]byte(command), 0, func(r rsm.Result, e error) { result, err, open = r, e, false }); refused != nil {
		return result, refused
	}
	c.until(time.Minute, "outcome of "+command, func() bool { return !open })
	return result, err
}

func keyOf(shard, replica uint64) logdb.ReplicaKey {
	return logdb.ReplicaKey{ShardID: shard, ReplicaID: replica}
}
