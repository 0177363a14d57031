package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
)

// clusterClock is the clock of a testCluster, for what reads it outside of the workers.
type clusterClock struct{ cluster **testCluster }

func (c clusterClock) Now() raft.Instant { return (*c.cluster).now }

// newLeasedCluster starts a shard whose members all have leases, and waits until its leader has one.
func newLeasedCluster(t *testing.T) (*testCluster, *testHost) {
	var c *testCluster
	c = newTestCluster(t, 3, func(o *engine.Options) { o.Clock = clusterClock{&c} })
	for i, h := range c.hosts {
		h.start(engine.ReplicaOptions{ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members(), Raft: raft.Options{LeaseRead: true}})
	}
	leader := c.waitLeader(1)
	c.until(5*time.Second, "the leader has a lease", func() bool {
		leased := false
		leader.replicas[1].Status(func(s raft.Status, _ error) { leased = s.LeaseEnd > c.now })
		leader.workers[0].RunOnce(c.now)
		return leased
	})
	return c, leader
}

func (c *testCluster) read(h *testHost) (err error) {
	c.t.Helper()
	open := true
	if refused := h.replicas[1].Read(nil, func(_ any, e error) { err, open = e, false }); refused != nil {
		return refused
	}
	c.until(time.Minute, "outcome of the read", func() bool { return !open })
	return err
}

// Under a lease reads of the leader take no message and no time; when it is over they are refused or wait for a round.
func TestLeaseReadsTakeNoRound(t *testing.T) {
	c, leader := newLeasedCluster(t)
	if _, err := c.propose(leader, 1, "a"); err != nil {
		t.Fatal(err)
	}
	before, begin := leader.engine.Counters(), c.now
	for range 100 {
		if err := c.read(leader); err != nil {
			t.Fatal(err)
		}
	}
	after := leader.engine.Counters()
	if leased := after.LeaseReads - before.LeaseReads; leased != 100 || after.RoundReads != before.RoundReads || c.now != begin {
		t.Errorf("%d of 100 reads by lease, %d by rounds, in %v", leased, after.RoundReads-before.RoundReads, time.Duration(c.now-begin))
	}

	follower := c.hosts[0]
	if follower == leader {
		follower = c.hosts[1]
	}
	before = follower.engine.Counters()
	if err := c.read(follower); err != nil {
		t.Fatal(err)
	}
	after = follower.engine.Counters()
	if leased, rounds := after.LeaseReads-before.LeaseReads, after.RoundReads-before.RoundReads; leased != 1 || rounds != 0 {
		t.Errorf("a read that was passed on counts %d times as by lease, %d as by rounds", leased, rounds)
	}

	c.cutOff(leader, true)
	c.run(950 * time.Millisecond)
	open := true
	if err := leader.replicas[1].Read(nil, func(_ any, err error) {
		open = false
		if err == nil {
			t.Error("a leader that is cut off served a read when its lease was over")
		}
	}); err != nil {
		t.Fatal(err)
	}
	c.until(5*time.Second, "the read ended", func() bool { return !open })
}

// A read that is asked for after the clock was read for a turn of the step worker is not decided by that reading, however long the process
// stood still in between.
func TestReadIsNotDecidedByAnOldReadingOfTheClock(t *testing.T) {
	c, leader := newLeasedCluster(t)
	served := false
	if err := leader.replicas[1].Read(nil, func(_ any, err error) { served = err == nil }); err != nil {
		t.Fatal(err)
	}
	leader.workers[0].RunOnce(c.now)        // by a reading that the process stood still after, before the read was asked for
	c.now += raft.Instant(10 * time.Second) // elsewhere another one may lead and commit
	leader.workers[0].RunOnce(c.now)
	for _, worker := range leader.workers[1:] {
		if worker.Ready() {
			worker.RunOnce(c.now)
		}
	}
	if served {
		t.Error("the read was served by a lease that was over when it was asked for")
	}
}

// A process that stands still after it read the clock for a turn, while heartbeats come in, has no clock that drifts. Its step worker took what had
// come by the old reading, and told that as the time of the receipt: its leader lost the lease for a while.
func TestAProcessThatStandsStillHasNoClockThatDrifts(t *testing.T) {
	c, leader := newLeasedCluster(t)
	voter := c.hosts[0]
	if voter == leader {
		voter = c.hosts[1]
	}
	still := false
	voter.held = func(w engine.Worker) bool { return still && w == voter.workers[0] }
	for range 30 {
		old := c.now
		still = true
		c.run(250 * time.Millisecond)
		voter.workers[0].RunOnce(old)
		still = false
		c.run(150 * time.Millisecond)
	}
	if drifting, _ := c.found(engine.EventClockDrift); len(drifting) > 0 {
		t.Errorf("a clock is said to drift %d times", len(drifting))
	}
}

// A bounded stale read is served where the state can be shown to be fresh enough, on the leader and on followers, and refused elsewhere.
func TestStaleReadHasABound(t *testing.T) {
	c, leader := newLeasedCluster(t)
	if _, err := c.propose(leader, 1, "a"); err != nil {
		t.Fatal(err)
	}
	c.run(time.Second)
	cut := c.hosts[0]
	if cut == leader {
		cut = c.hosts[1]
	}
	for _, h := range c.hosts {
		if value, err := h.replicas[1].StaleRead(nil, 500*time.Millisecond); err != nil || value.(int) != 1 {
			t.Errorf("%s: %v, %v", h.address, value, err)
		}
		if _, err := h.replicas[1].StaleRead(nil, time.Nanosecond); !errors.Is(err, engine.ErrTooStale) {
			t.Errorf("%s: a bound of a nanosecond: %v", h.address, err)
		}
	}
	c.cutOff(cut, true)
	if _, err := c.propose(leader, 1, "b"); err != nil {
		t.Fatal(err)
	}
	c.run(2 * time.Second)
	if _, err := cut.replicas[1].StaleRead(nil, time.Second); !errors.Is(err, engine.ErrTooStale) {
		t.Errorf("cut off for two seconds: %v", err)
	}
	if value, err := cut.replicas[1].StaleRead(nil, time.Minute); err != nil || value.(int) != 1 {
		t.Errorf("a bound of a minute: %v, %v", value, err)
	}
	if value, err := cut.replicas[1].StaleRead(nil, 0); err != nil || value.(int) != 1 {
		t.Errorf("no bound: %v, %v", value, err)
	}
	if value, err := leader.replicas[1].StaleRead(nil, 500*time.Millisecond); err != nil || value.(int) != 2 {
		t.Errorf("the leader: %v, %v", value, err)
	}
}
