package nodehost_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
)

// A bounded stale read is served while the leader is heard, and refused by a replica that is cut off, with the age that it can show.
func TestAStaleReadKeepsItsBound(t *testing.T) {
	c, network := newMemoryCluster(t, 3)
	c.startAll(1)
	c.propose(0, 1, "x")
	size := func(host int, maxAge time.Duration) (any, error) {
		return c.shard(host, 1).StaleRead(context.Background(), "size", maxAge)
	}
	for i := range 3 {
		c.eventually(fmt.Sprint("host ", i, " reads what it has"), func() bool {
			value, err := size(i, patience)
			if err != nil && (!errors.Is(err, nodehost.ErrTooStale) || nodehost.MaybeApplied(err)) {
				t.Fatal(err)
			}
			return err == nil && value.(int) > 0 // the bound allows a state before the command, too
		})
	}
	cut := (c.leader(1) + 1) % 3
	c.isolate(network, cut, true)
	c.eventually("too stale", func() bool {
		_, err := size(cut, 50*time.Millisecond)
		return errors.Is(err, nodehost.ErrTooStale)
	})
	if _, err := size(cut, patience+time.Hour); err != nil {
		t.Errorf("with a bound that still holds: %v", err)
	}
	if _, err := size(cut, 0); err != nil {
		t.Errorf("without a bound: %v", err)
	}
	if _, err := c.shard(cut, 1).Read(patient(t), nil); err == nil {
		t.Error("a linearizable read of a replica that is cut off was served")
	}
	(&mistake{"a negative bound", func() error { _, err := size(cut, -time.Second); return err }, []error{nodehost.ErrTooStale}, []string{"shard 1", "-1s"}}).check(t)
	(&mistake{"a bound that is not met", func() error { _, err := size(cut, time.Nanosecond); return err }, []error{nodehost.ErrTooStale}, []string{"shard 1", "1ns"}}).check(t)
	cause := errors.New("cause")
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if _, err := c.shard(cut, 1).StaleRead(ended, nil, 0); !errors.Is(err, cause) || nodehost.MaybeApplied(err) {
		t.Errorf("with an ended context: %v", err)
	}
	c.isolate(network, cut, false)
	c.eventually("fresh again", func() bool { _, err := size(cut, patience); return err == nil })
}

// Info tells the reads that a lease served from those that took a round.
func TestReadsUnderALeaseAreCounted(t *testing.T) {
	c := newCluster(t, 3)
	for i := range 3 {
		c.start(i)
		for shard := uint64(1); shard <= 2; shard++ {
			config := nodehost.ReplicaConfig{ShardID: shard, ReplicaID: uint64(i + 1), Members: c.members(), LeaseRead: shard == 2}
			if err := c.hosts[i].StartReplica(patient(t), config, c.factory(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	reads := func() (lease, round uint64) {
		for _, host := range c.hosts {
			counters := host.Info().Engine
			lease, round = lease+counters.LeaseReads, round+counters.RoundReads
		}
		return lease, round
	}
	c.propose(0, 1, "x")
	c.read(c.leader(1), 1)
	if lease, round := reads(); lease != 0 || round == 0 {
		t.Errorf("without a lease %d reads were served by one, %d by a round", lease, round)
	}
	c.propose(0, 2, "x")
	c.eventually("a read under a lease", func() bool {
		if got := c.read(c.leader(2), 2); len(got) == 0 {
			t.Fatalf("the leader reads %q", got)
		}
		lease, _ := reads()
		return lease > 0
	})
}
