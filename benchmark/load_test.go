package benchmark

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/flotilla-raft/flotilla/internal/invariant"
)

// movingCluster has one shard, whose leader moves when it is told to, and answers each proposal at once from another goroutine.
type movingCluster struct {
	leader  atomic.Int64
	refused atomic.Int64
	served  [2]atomic.Int64
	moved   chan struct{} // closed once the second host has served a hundred
	work    sync.WaitGroup
}

func (c *movingCluster) BalanceLeaders(context.Context) error { return nil }
func (c *movingCluster) Leader(int) int                       { return int(c.leader.Load()) }
func (c *movingCluster) LeaderChanges() uint64                { return 0 }
func (c *movingCluster) Settle(context.Context) error         { return nil }
func (c *movingCluster) Close() error                         { return nil }
func (c *movingCluster) Caller(host, _ int, done func(Outcome)) Caller {
	return &movingCaller{c, host, done}
}

type movingCaller struct {
	cluster *movingCluster
	host    int
	done    func(Outcome)
}

func (c *movingCaller) ProposeAsync([]byte) error {
	if int64(c.host) != c.cluster.leader.Load() {
		c.cluster.refused.Add(1)
		return errFake
	}
	if c.cluster.served[c.host].Add(1) == 100 {
		if c.host == 0 {
			c.cluster.leader.Store(1)
		} else {
			close(c.cluster.moved)
		}
	}
	c.cluster.work.Go(func() { c.done(Outcome{}) })
	return nil
}

func (c *movingCaller) ReadAsync(*Query) (bool, error) { return false, errFake }

func (c *movingCaller) Propose(context.Context, []byte) Outcome { return Outcome{Err: errFake} }

func (c *movingCaller) Read(context.Context, *Query) Outcome { return Outcome{Err: errFake} }

func TestClientsFollowTheLeader(t *testing.T) {
	cluster := &movingCluster{moved: make(chan struct{})}
	l := newLoad(cluster, loadOptions{shards: 1, inFlight: 5, payload: MinPayload})
	l.start()
	<-cluster.moved
	if err := l.stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	cluster.work.Wait()
	if refused := cluster.refused.Load(); refused == 0 || uint64(refused) != l.errors.Load() {
		t.Fatalf("%d refused, %d counted", refused, l.errors.Load())
	}
	for i := range l.clients {
		if len(l.clients[i].unknown) > 0 {
			t.Fatal("a command that was surely not applied counts as unknown")
		}
	}
}

// sink is a cluster that takes everything and answers nothing.
type sink struct{ movingCluster }

func (c *sink) Caller(int, int, func(Outcome)) Caller { return &sinkCaller{} }

type sinkCaller struct{ movingCaller }

func (*sinkCaller) ProposeAsync([]byte) error { return nil }

func TestAllocationsOfTheClosedLoop(t *testing.T) {
	if invariant.Enabled {
		t.Skip("assertions allocate")
	}
	l := newLoad(&sink{}, loadOptions{shards: 1, inFlight: 1, payload: MinPayload})
	c := &l.clients[0]
	if got := testing.AllocsPerRun(1000, func() { c.done(Outcome{}) }); got != 0 {
		t.Fatalf("%g allocations per command", got)
	}
}

func BenchmarkClosedLoop(b *testing.B) {
	l := newLoad(&sink{}, loadOptions{shards: 1, inFlight: 1, payload: MinPayload})
	c := &l.clients[0]
	b.ReportAllocs()
	for b.Loop() {
		c.done(Outcome{})
	}
}
