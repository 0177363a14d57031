package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/transport"
)

// slowApply lets a host's state machines have one turn in an interval: at most 1 MiB of batches.
func (h *testHost) slowApply(interval time.Duration) {
	var next raft.Instant
	h.held = func(worker engine.Worker) bool {
		if !strings.HasPrefix(worker.Name(), "apply") || !worker.Ready() {
			return false
		}
		if h.cluster.now < next {
			return true
		}
		next = h.cluster.now + raft.Instant(interval)
		return false
	}
}

func (c *testCluster) startWith(shard uint64, options raft.Options) {
	for i, h := range c.hosts {
		h.start(engine.ReplicaOptions{ShardID: shard, ReplicaID: uint64(i + 1), Members: c.members(), Raft: options})
	}
}

func (c *testCluster) status(h *testHost, shard uint64) (status raft.Status) {
	c.t.Helper()
	known := false
	h.replicas[shard].Status(func(s raft.Status, err error) {
		if err != nil {
			c.t.Fatal(err)
		}
		status, known = s, true
	})
	c.until(time.Second, "status", func() bool { return known })
	return status
}

// offered counts what became of a load.
type offered struct{ accepted, applied, busy, other int }

func (c *testCluster) offer(h *testHost, shard uint64, command []byte, o *offered) {
	count := func(err error) {
		switch {
		case err == nil:
			o.applied++
		case errors.Is(err, engine.ErrBusy):
			o.busy++
		default:
			o.other++
		}
	}
	if err := h.replicas[shard].Propose(command, 0, func(_ rsm.Result, err error) { count(err) }); err != nil {
		count(err)
		return
	}
	o.accepted++
}

// leaderChanges is how often anybody has learned of another leader, once all know the present one.
func (c *testCluster) leaderChanges() (total uint64) {
	c.run(time.Second)
	for _, h := range c.hosts {
		total += h.engine.Counters().LeaderChanges
	}
	return total
}

// State machines that are ten times slower than the load: what is committed and not applied stays bounded, proposals beyond are
// refused as busy, nobody campaigns, and when the state machines are fast again everything is accepted.
func TestSlowStateMachinesBoundTheBacklog(t *testing.T) {
	const limit, batch = 4 << 20, 256 << 10
	c := newTestCluster(t, 3, func(o *engine.Options) { o.MaxBatchBytes, o.RequestTimeout = batch, time.Minute })
	c.startWith(1, raft.Options{MaxBacklogBytes: limit, MaxPinnedBytes: 1 << 20})
	leader := c.waitLeader(1)
	changes := c.leaderChanges()
	for _, h := range c.hosts {
		h.slowApply(time.Second / 4) // 4 MiB a second
	}
	var o offered
	command := make([]byte, 64<<10)
	most := 0
	for range 500 { // 40 MiB a second for 10 s
		for range 12 {
			c.offer(leader, 1, command, &o)
		}
		c.run(20 * time.Millisecond)
		most = max(most, c.status(leader, 1).Backlog)
	}
	if most <= limit || most > limit+4*batch {
		t.Errorf("at most %d bytes were committed and not applied, want a little more than %d", most, limit)
	}
	if o.busy == 0 || o.other > 0 || o.applied < 500 {
		t.Errorf("%+v: want what the state machines take applied and the rest busy", o)
	}
	if got := c.leaderChanges(); got != changes {
		t.Errorf("%d leader changes", got-changes)
	}
	for _, h := range c.hosts {
		h.held = nil
	}
	c.until(10*time.Second, "all is applied", func() bool { return o.applied+o.busy == 6000 })
	c.run(time.Second)
	before := o.busy
	for range 100 {
		c.offer(leader, 1, command, &o)
		c.run(10 * time.Millisecond)
	}
	c.run(time.Second)
	if o.busy != before || o.applied+o.busy != 6100 {
		t.Errorf("after recovery %d of 100 were refused: %+v", o.busy-before, o)
	}
}

// One follower is stopped for 30 s at full load: nothing is refused, what the leader keeps for it stays within its budget, and then
// it catches up from the log store, which nobody but the log reader reads.
func TestAStoppedFollowerSlowsNobody(t *testing.T) {
	const cache, inflight = 2 << 20, 1 << 20
	caches := map[string]*logdb.Cache{}
	c := newTestCluster(t, 3, func(o *engine.Options) {
		o.Cache = logdb.NewCache(logdb.CacheOptions{Bytes: cache})
		caches[o.Address] = o.Cache
	})
	c.startWith(1, raft.Options{MaxInflightBytes: inflight, MaxMessageBytes: 128 << 10})
	leader := c.waitLeader(1)
	stopped := c.hosts[0]
	if stopped == leader {
		stopped = c.hosts[1]
	}
	part := func(yes bool) {
		for _, h := range c.hosts {
			if h != stopped {
				c.network.SetPartitioned(h.address, stopped.address, yes)
				c.network.SetPartitioned(stopped.address, h.address, yes)
			}
		}
	}
	changes := leader.engine.Counters().LeaderChanges
	part(true)
	var o offered
	command := make([]byte, 1000)
	for range 3000 { // 30 s
		for range 10 {
			c.offer(leader, 1, command, &o)
		}
		c.run(10 * time.Millisecond)
		if bytes := caches[leader.address].Counters().Bytes; bytes > 2*cache {
			t.Fatalf("%d bytes in a cache of %d", bytes, cache)
		}
	}
	if o.busy+o.other > 0 || o.applied < 29_900 {
		t.Errorf("%+v: want all of 30,000 applied without the follower", o)
	}
	for _, f := range c.status(leader, 1).Followers {
		if f.InflightBytes > inflight {
			t.Errorf("%d bytes in flight to replica %d", f.InflightBytes, f.ReplicaID)
		}
	}
	part(false)
	reads := leader.engine.Counters().LogReads
	c.until(30*time.Second, "the follower has caught up", func() bool { return len(stopped.machines[1].commands) == 30_000 })
	counters := leader.engine.Counters()
	if counters.LogReads == reads || counters.LogReadsElsewhere != 0 {
		t.Errorf("%d log reads by the reader, %d by others", counters.LogReads-reads, counters.LogReadsElsewhere)
	}
	if read := counters.LogReads - reads; counters.LogReadsAhead == 0 || counters.LogReadsAhead > read {
		t.Errorf("%d of %d log reads were made before they were asked for", counters.LogReadsAhead, read)
	}
	if counters.LeaderChanges != changes {
		t.Errorf("%d leader changes", counters.LeaderChanges-changes)
	}
}

// clogged is a transport whose bulk lane takes messages and delivers none: entries stand in the way of entries only.
type clogged struct {
	transport.Transport
	on *bool
}

type cloggedPeer struct {
	transport.Peer
	on *bool
}

func (c clogged) Peer(address string) transport.Peer {
	return cloggedPeer{c.Transport.Peer(address), c.on}
}

func (p cloggedPeer) Send(lane transport.Lane, messages []raftpb.Message) int {
	if *p.on && lane == transport.LaneBulk {
		return len(messages)
	}
	return p.Peer.Send(lane, messages)
}

// Heartbeats are delayed by nothing else: with the bulk lane stuck in both directions, and every apply queue full, followers go on
// hearing their leader, and answering it.
func TestHeartbeatsPassEverythingElse(t *testing.T) {
	stuck := false
	c := newTestCluster(t, 3, func(o *engine.Options) { o.Transport = clogged{o.Transport, &stuck} })
	c.startWith(1, raft.Options{MaxBacklogBytes: 1 << 20, MaxPinnedBytes: 1 << 20})
	leader := c.waitLeader(1)
	changes := c.leaderChanges()
	for _, h := range c.hosts {
		h.held = func(worker engine.Worker) bool { return strings.HasPrefix(worker.Name(), "apply") }
	}
	var o offered
	for range 200 {
		c.offer(leader, 1, make([]byte, 20_000), &o)
		c.run(5 * time.Millisecond)
	}
	if o.busy == 0 {
		t.Fatalf("%+v: the apply queue is not full", o)
	}
	stuck = true
	for range 600 { // 30 s
		c.offer(leader, 1, []byte("x"), &o)
		c.run(50 * time.Millisecond)
	}
	if got := c.leaderChanges(); got != changes {
		t.Errorf("%d leader changes", got-changes)
	}
	for _, f := range c.status(leader, 1).Followers {
		if !f.Online || c.now-f.LastContact > raft.Instant(200*time.Millisecond) {
			t.Errorf("replica %d was last heard %s ago", f.ReplicaID, time.Duration(c.now-f.LastContact))
		}
	}
}
