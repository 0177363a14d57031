package nodehost_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
)

// A shard whose timeouts were raised to an hour elects another leader within this test because they are lowered again.
func TestTimeoutsChangeWhileTheShardRuns(t *testing.T) {
	c, network := newMemoryCluster(t, 3)
	c.startAll(1)
	c.propose(0, 1, "before")
	set := func(host int, election, heartbeat time.Duration) {
		t.Helper()
		if err := c.shard(host, 1).SetTimeouts(patient(t), election, heartbeat); err != nil {
			t.Fatalf("host %d: %v", host, err)
		}
	}
	shards := []*nodehost.Shard{c.shard(0, 1), c.shard(1, 1), c.shard(2, 1)}
	leads, err := holdLeader(patient(t), shards, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c.propose(0, 1, "meanwhile")
	leader := int(leads - 1)
	c.isolate(network, leader, true)
	for i := range 3 {
		if i != leader {
			set(i, 0, 0) // the host's own: 300 ms
		}
	}
	c.eventually("another leader", func() bool {
		leads, _, ok := c.shard((leader+1)%3, 1).Leader()
		return ok && leads != uint64(leader+1)
	})
	c.propose((leader+1)%3, 1, "after")
	set(leader, 0, 0) // or it would try for an hour to hand over before it is closed
}

func TestTimeoutsAreChecked(t *testing.T) {
	c := newCluster(t, 1)
	c.startAll(1)
	shard := c.shard(0, 1)
	for _, m := range []mistake{
		{"negative", func() error { return shard.SetTimeouts(patient(t), -1, 0) }, []error{nodehost.ErrInvalidConfig}, []string{"shard 1", "ElectionTimeout is -1ns"}},
		{"too long", func() error { return shard.SetTimeouts(patient(t), 2*time.Hour, 0) }, []error{nodehost.ErrInvalidConfig}, []string{"ElectionTimeout is 2h0m0s"}},
		{"heartbeats too rare", func() error { return shard.SetTimeouts(patient(t), time.Second, 600*time.Millisecond) },
			[]error{nodehost.ErrInvalidConfig}, []string{"HeartbeatInterval is 600ms", "500ms"}},
		{"heartbeats too rare for the default", func() error { return shard.SetTimeouts(patient(t), 0, time.Second) },
			[]error{nodehost.ErrInvalidConfig}, []string{"HeartbeatInterval is 1s", "150ms"}},
	} {
		m.check(t)
	}
	cause := errors.New("cause")
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if err := shard.SetTimeouts(ended, 0, 0); !errors.Is(err, cause) || nodehost.MaybeApplied(err) {
		t.Errorf("with an ended context: %v", err)
	}
	if err := c.hosts[0].StopReplica(patient(t), 1); err != nil {
		t.Fatal(err)
	}
	if err := shard.SetTimeouts(patient(t), 0, 0); !errors.Is(err, nodehost.ErrStopped) {
		t.Errorf("of a stopped replica: %v", err)
	}
}
