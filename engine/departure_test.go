package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
)

// others returns the hosts but one.
func (c *testCluster) others(h *testHost) (others []*testHost) {
	for _, other := range c.hosts {
		if other != h {
			others = append(others, other)
		}
	}
	return others
}

// stop begins to stop a host's replica and returns where its outcome will stand.
func (h *testHost) stop(shard uint64) (stopped *bool) {
	stopped = new(bool)
	h.engine.StopReplica(h.replicas[shard], func(err error) {
		if err != nil {
			h.cluster.t.Errorf("stop: %v", err)
		}
		*stopped = true
	})
	return stopped
}

// A leader that is stopped under load hands over before it goes: the others take writes again without waiting for any timeout, and a
// replica that merely follows is stopped at once.
func TestAStoppedLeaderHandsOverFirst(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	for range 2 {
		leader := c.waitLeader(1)
		other := c.others(leader)[0]
		if _, err := c.propose(leader, 1, "before"); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := leader.replicas[1].Propose([]byte("under way"), 0, nil); err != nil {
				t.Fatal(err)
			}
		}
		begin := c.now
		stopped := leader.stop(1)
		c.until(100*time.Millisecond, "stopped", func() bool { return *stopped })
		c.until(100*time.Millisecond, "another leads", func() bool {
			return c.leader(1) != nil && c.leader(1) != leader
		})
		if _, err := c.propose(other, 1, "after"); err != nil {
			t.Errorf("a write after the stop: %v", err)
		}
		if pause := c.now - begin; pause > raft.Instant(100*time.Millisecond) {
			t.Errorf("the shard stood still for %v", time.Duration(pause))
		}
		for i, h := range c.hosts {
			if h == leader {
				delete(h.replicas, 1)
				delete(h.machines, 1)
				h.start(engine.ReplicaOptions{ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members()})
			}
		}
		c.run(time.Second)
	}
}

// While nobody can take over, proposals are refused as surely not applied, the stop waits for one election timeout and no longer, and
// the followers, told that their leader is gone, elect another before their own timeouts.
func TestAStopWaitsForOneElectionTimeoutAtMost(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "before"); err != nil {
		t.Fatal(err)
	}
	for _, h := range c.others(leader) {
		h.log.SetAutomatic(false) // no acknowledgement: nobody catches up
	}
	pending := errors.New("open")
	if err := leader.replicas[1].Propose([]byte("under way"), 0, func(_ rsm.Result, err error) { pending = err }); err != nil {
		t.Fatal(err)
	}
	c.run(50 * time.Millisecond)
	begin := c.now
	stopped := leader.stop(1)
	c.run(50 * time.Millisecond)
	if _, err := c.propose(leader, 1, "meanwhile"); !errors.Is(err, engine.ErrTransferring) || engine.MaybeApplied(err) {
		t.Errorf("a proposal during the hand-over: %v", err)
	}
	again := error(nil)
	leader.engine.StopReplica(leader.replicas[1], func(err error) { again = err })
	c.until(2*time.Second, "stopped", func() bool { return *stopped })
	if wait := time.Duration(c.now - begin); wait < time.Second || wait > time.Second+50*time.Millisecond {
		t.Errorf("the stop took %v at an election timeout of 1 s", wait)
	}
	if !errors.Is(again, engine.ErrNotStarted) {
		t.Errorf("a second stop: %v", again)
	}
	if !engine.MaybeApplied(pending) {
		t.Errorf("the proposal under way: %v", pending)
	}
	for _, h := range c.others(leader) {
		h.log.SetAutomatic(true)
		h.log.CompleteAll()
	}
	c.until(850*time.Millisecond, "another leads", func() bool { return c.leader(1) != nil && c.leader(1) != leader })
}

// A leader without anybody to take over does not wait, nor does one whose core fails an assertion meanwhile.
func TestAStopDoesNotWaitForNothing(t *testing.T) {
	alone := newTestCluster(t, 1, nil)
	alone.start(1)
	stopped := alone.waitLeader(1).stop(1)
	alone.until(10*time.Millisecond, "a single voter stopped", func() bool { return *stopped })

	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "before"); err != nil {
		t.Fatal(err)
	}
	for _, h := range c.others(leader) {
		h.log.SetAutomatic(false)
	}
	if err := leader.replicas[1].Propose([]byte("under way"), 0, nil); err != nil {
		t.Fatal(err)
	}
	c.run(50 * time.Millisecond)
	stopped = leader.stop(1)
	c.run(50 * time.Millisecond)
	if *stopped {
		t.Fatal("stopped although it could hand over later")
	}
	leader.replicas[1].Sabotage()
	c.until(200*time.Millisecond, "a fenced replica stopped", func() bool { return *stopped })
}

// A leadership that is on its way by somebody's wish already goes there, and the stop follows.
func TestAStopFollowsATransferUnderWay(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "before"); err != nil {
		t.Fatal(err)
	}
	target := c.others(leader)[1]
	transferred := errors.New("open")
	leader.replicas[1].Transfer(target.replicas[1].ReplicaID(), func(err error) { transferred = err })
	stopped := leader.stop(1)
	c.until(100*time.Millisecond, "stopped", func() bool { return *stopped })
	c.until(100*time.Millisecond, "the target leads", func() bool { return c.leader(1) == target })
	if transferred != nil {
		t.Errorf("the transfer ended with %v", transferred)
	}
}
