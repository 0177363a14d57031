package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
)

// transferred asks for a transfer on a host and waits for the outcome.
func (c *testCluster) transferred(h *testHost, shard, target uint64) error {
	c.t.Helper()
	var err error
	open := true
	h.replicas[shard].Transfer(target, func(e error) { err, open = e, false })
	c.until(time.Minute, "outcome of the transfer", func() bool { return !open })
	return err
}

// cutOff separates a host from all others, or joins it to them again.
func (c *testCluster) cutOff(h *testHost, off bool) {
	for _, other := range c.hosts {
		c.network.SetPartitioned(h.address, other.address, off)
		c.network.SetPartitioned(other.address, h.address, off)
	}
}

// A transfer is over when the target has committed, and that is known where it was asked for: what is proposed there next is applied.
func TestATransferReturnsWhenTheTargetHasCommitted(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	h := c.waitLeader(1)
	if _, err := c.propose(h, 1, "a"); err != nil {
		t.Fatal(err)
	}
	for i, asked := range c.hosts {
		target := uint64((i+1)%3 + 1)
		if err := c.transferred(asked, 1, target); err != nil {
			t.Fatalf("asked of %s: %v", asked.address, err)
		}
		if leader, _ := asked.replicas[1].Leader(); leader != target {
			t.Errorf("replica %d leads, want %d", leader, target)
		}
		if _, err := c.propose(asked, 1, "b"); err != nil {
			t.Errorf("after the transfer: %v", err)
		}
	}
}

// Every way in which a transfer fails has its own error, besides ErrTransferFailed, also when it was asked of a follower.
func TestATransferThatFailsSaysWhy(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	c.run(time.Second)
	var target uint64
	for i, h := range c.hosts {
		if h != leader {
			target = uint64(i + 1)
		}
	}
	cut := c.hosts[target-1]
	expect := func(h *testHost, target uint64, want error, maybe bool) {
		t.Helper()
		err := c.transferred(h, 1, target)
		if !errors.Is(err, engine.ErrTransferFailed) || !errors.Is(err, want) || engine.MaybeApplied(err) != maybe {
			t.Errorf("%v, want %v, may be applied %t", err, want, maybe)
		}
	}
	expect(leader, 9, engine.ErrNotMember, false)
	for _, h := range c.hosts {
		if h != leader {
			expect(h, 9, engine.ErrNotMember, false)
		}
	}

	c.cutOff(cut, true)
	done := false
	if err := leader.replicas[1].Propose([]byte("a"), 0, func(rsm.Result, error) { done = true }); err != nil {
		t.Fatal(err)
	}
	c.until(time.Second, "committed without it", func() bool { return done })
	expect(leader, target, engine.ErrTargetBehind, false)
	if !leader.replicas[1].Leading() {
		t.Fatal("the leader did not go on")
	}
	if _, err := c.propose(leader, 1, "b"); err != nil {
		t.Errorf("proposal after the transfer was given up: %v", err)
	}
	expect(leader, target, engine.ErrTargetFailed, false)
}

// A transfer whose caller's deadline passes while the target is told to take over may yet happen, and one that ends with its
// replica, too: neither was surely not done.
func TestATransferThatIsCutShortMayHaveHappened(t *testing.T) {
	for _, end := range []struct {
		name string
		do   func(h *testHost)
		want error
	}{
		{"deadline", func(*testHost) {}, engine.ErrTimeout},
		{"assertion", func(h *testHost) { h.replicas[1].Sabotage() }, engine.ErrFenced},
	} {
		t.Run(end.name, func(t *testing.T) {
			c := newTestCluster(t, 3, func(o *engine.Options) { o.RequestTimeout = 300 * time.Millisecond })
			c.start(1)
			leader := c.waitLeader(1)
			c.run(time.Second)
			for i, h := range c.hosts {
				if h == leader {
					continue
				}
				c.cutOff(h, true) // it has everything and was just heard: it is told at once
				var err error
				open := true
				leader.replicas[1].Transfer(uint64(i+1), func(e error) { err, open = e, false })
				end.do(leader)
				c.until(time.Second, "outcome of the transfer", func() bool { return !open })
				if !errors.Is(err, end.want) || !errors.Is(err, engine.ErrTransferFailed) || !engine.MaybeApplied(err) {
					t.Errorf("%v, want %v that may be applied", err, end.want)
				}
				return
			}
		})
	}
}
