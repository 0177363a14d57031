package nodehost_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/memnet"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/transport"
)

// driftingClock shows another time than the machine's, and runs at another rate.
type driftingClock struct {
	mu    sync.Mutex
	since time.Time    // when the rate was set
	at    raft.Instant // what the clock showed then
	rate  float64
}

func newDriftingClock(offset time.Duration, rate float64) *driftingClock {
	return &driftingClock{since: time.Now(), at: raft.Instant(offset + time.Second), rate: rate}
}

func (c *driftingClock) Now() raft.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at + raft.Instant(float64(time.Since(c.since))*c.rate)
}

func (c *driftingClock) setRate(rate float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.at += raft.Instant(float64(now.Sub(c.since)) * c.rate)
	c.since, c.rate = now, rate
}

// leased is a live load on a shard that reads under leases, on hosts whose clocks differ, and whose network can be cut.
type leased struct {
	*live
	network *memnet.Network
	clocks  []*driftingClock
	drifted []atomic.Int32 // by host, how often its leader said that a voter's clock drifts
}

func startLeased(t testing.TB, clocks ...*driftingClock) *leased {
	network, err := memnet.NewNetwork(memnet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	network.Start()
	l := &leased{live: newLiveCluster(t, len(clocks)), network: network, clocks: clocks, drifted: make([]atomic.Int32, len(clocks))}
	l.c.configure = func(i int, config *nodehost.Config) {
		config.Clock = clocks[i]
		config.Events.ClockDrift = func(nodehost.ReplicaName, uint64) { l.drifted[i].Add(1) }
		config.Transport = func(c nodehost.TransportContext) (transport.Transport, error) { return network.Host(c.Identity), nil }
	}
	for host := range clocks {
		l.c.start(host)
		l.startReplica(host, nodehost.ReplicaConfig{Members: l.c.members(), LeaseRead: true})
	}
	l.load()
	return l
}

// leaseReads counts the batches of reads that the lease of a host's leaders showed to be current.
func (l *leased) leaseReads(host int) uint64 { return l.c.hosts[host].Info().Engine.LeaseReads }

func (l *leased) allLeaseReads() (all uint64) {
	for host := range l.clocks {
		all += l.leaseReads(host)
	}
	return all
}

// cutOff isolates the leader, whose clients go on asking it, until the others have another one and wrote.
func (l *leased) cutOff(leader int) {
	l.c.t.Helper()
	l.c.isolate(l.network, leader, true)
	other := (leader + 1) % len(l.c.hosts)
	l.c.eventually("another leader", func() bool {
		led, _, ok := l.c.shard(other, liveShard).Leader()
		return ok && led != uint64(leader+1)
	})
	l.some()
	l.c.isolate(l.network, leader, false)
}

// Reads under a lease are linearizable on hosts whose clocks show different times and drift apart nearly as fast as is allowed, while
// leadership is transferred and leaders are cut off.
func TestLiveLeases(t *testing.T) {
	l := startLeased(t, newDriftingClock(0, 1), newDriftingClock(time.Hour, 0.96), newDriftingClock(1000*time.Hour, 1.04))
	for range 3 {
		l.some()
		leader := l.leader()
		before := l.allLeaseReads() // counts what is asked of the leader itself; the clients may all be asking others
		l.c.eventually("a read under a lease", func() bool {
			leader = l.leader()
			_, err := l.c.shard(leader, liveShard).Read(patient(t), 0)
			return err == nil && l.allLeaseReads() > before
		})
		l.during("transfer", func() { l.transfer(leader, (leader+1)%3) })
		leader = l.leader()
		l.during("the leader is cut off", func() { l.cutOff(leader) })
	}
	t.Logf("%d batches of reads under a lease", l.allLeaseReads())
	for host := range l.drifted {
		if n := l.drifted[host].Load(); n > 0 {
			t.Errorf("host %d says %d times that a clock drifts too fast", host, n)
		}
	}
	l.finish()
}

// A clock that runs wilder than is allowed is noticed by the leader; from then on its voter counts for no lease, and reads are
// linearizable although the leader is cut off.
func TestLiveLeasesNoticeAWildClock(t *testing.T) {
	l := startLeased(t, newDriftingClock(0, 1), newDriftingClock(0, 1), newDriftingClock(0, 1))
	l.some()
	leader := l.c.hold(liveShard)
	l.during("the other clocks run wild", func() {
		for host, clock := range l.clocks {
			if host != leader {
				clock.setRate(2)
			}
		}
		l.c.eventually("the leader notices both", func() bool { return l.drifted[leader].Load() >= 2 })
	})
	l.some()
	if l.leader() != leader {
		t.Fatal("another replica leads")
	}
	before := l.leaseReads(leader)
	l.some()
	if now := l.leaseReads(leader); now != before {
		t.Errorf("%d batches of reads under a lease", now-before)
	}
	l.c.setTimeouts(liveShard, 0)
	l.during("the leader is cut off", func() { l.cutOff(leader) })
	l.finish()
}
