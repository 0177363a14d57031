package nodehost_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/memnet"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/transport"
)

// newMemoryCluster is a cluster on an in-process network that a test can partition. Its logs are on disk.
func newMemoryCluster(t *testing.T, size int) (*cluster, *memnet.Network) {
	network, err := memnet.NewNetwork(memnet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	network.Start()
	c := newCluster(t, size)
	c.configure = func(_ int, config *nodehost.Config) {
		config.Transport = func(c nodehost.TransportContext) (transport.Transport, error) { return network.Host(c.Identity), nil }
	}
	return c, network
}

// isolate cuts a host off from all others, or lets it back.
func (c *cluster) isolate(network *memnet.Network, host int, isolated bool) {
	for i, address := range c.addresses {
		if i != host {
			network.SetPartitioned(c.addresses[host], address, isolated)
			network.SetPartitioned(address, c.addresses[host], isolated)
		}
	}
}

// A leader that vanishes without a word is replaced; what it had acknowledged stays, what it could not have replicated is not
// acknowledged, and everybody who waits there gets an answer that says so.
func TestAVanishedLeaderIsReplaced(t *testing.T) {
	c, network := newMemoryCluster(t, 3)
	c.startAll(1)
	var acknowledged, refused []string
	for round := range 3 {
		old := c.leader(1)
		before := fmt.Sprint("before ", round)
		c.propose(old, 1, before)
		acknowledged = append(acknowledged, before)
		c.isolate(network, old, true)
		stranded := make(chan error, 1)
		command := fmt.Sprint("stranded ", round)
		if err := c.shard(old, 1).ProposeAsync([]byte(command), func(_ rsm.Result, err error) { stranded <- err }); err != nil {
			stranded <- err
		}
		for i := range 3 {
			if i != old {
				after := fmt.Sprint("after ", round, " on ", i)
				c.propose(i, 1, after)
				acknowledged = append(acknowledged, after)
			}
		}
		if err := <-stranded; err == nil {
			t.Error("a proposal to a leader that was cut off is acknowledged")
		} else if !nodehost.MaybeApplied(err) { // it had stepped down before
			refused = append(refused, command)
		}
		if _, err := c.shard(old, 1).Read(context.Background(), nil); err == nil {
			t.Error("a host that is cut off answers a linearizable read")
		}
		c.isolate(network, old, false)
		for i := range 3 {
			commands := c.read(i, 1)
			if lost, gone := missing(commands, acknowledged); gone {
				t.Fatalf("host %d lost %q", i, lost)
			}
			for _, command := range refused {
				if slices.Contains(commands, command) {
					t.Fatalf("host %d has %q, which was refused", i, command)
				}
			}
		}
	}
}

// While a leader waits for the replica that is to lead it takes no proposals, and says so; when that comes to nothing it goes on.
func TestProposalsAreRefusedWhileLeadershipIsTransferred(t *testing.T) {
	c, network := newMemoryCluster(t, 3)
	c.startAll(1)
	c.propose(0, 1, "before")
	leader := c.steady(1)
	target := (leader + 1) % 3
	c.isolate(network, target, true)
	c.propose(leader, 1, "what the target lacks")
	shard := c.shard(leader, 1)
	transferred := make(chan error, 1)
	refused := false
	for !refused {
		go func() { transferred <- shard.TransferLeader(context.Background(), uint64(target+1)) }()
		for waiting := true; waiting; {
			_, err := shard.Propose(patient(t), []byte("meanwhile"))
			if errors.Is(err, nodehost.ErrTransferring) && !nodehost.MaybeApplied(err) {
				refused = true
			} else if err != nil && !passing(err) {
				t.Fatalf("propose during a transfer: %v", err)
			}
			select {
			case err := <-transferred:
				if !errors.Is(err, nodehost.ErrTransferFailed) {
					t.Fatalf("transfer to a host that is cut off: %v", err)
				}
				waiting = false
			default:
			}
		}
	}
	c.propose(leader, 1, "after")
}

// A proposal whose leader lost its leadership ends before its timeout, and says why.
func TestALostLeadershipIsTold(t *testing.T) {
	c, network := newMemoryCluster(t, 3)
	configure := c.configure
	c.configure = func(i int, config *nodehost.Config) {
		configure(i, config)
		config.RequestTimeout = patience
	}
	c.startAll(1)
	c.propose(0, 1, "before")
	var leader int
	var err error
	c.eventually("a proposal is under way on a leader that is cut off", func() bool {
		leader = c.leader(1)
		c.isolate(network, leader, true)
		if _, err = c.shard(leader, 1).Propose(patient(t), []byte("stranded")); err == nil {
			t.Fatal("acknowledged without a quorum")
		}
		if passing(err) && !nodehost.MaybeApplied(err) { // it has stepped down before
			c.isolate(network, leader, false)
			return false
		}
		return true
	})
	for i := range 3 {
		if i != leader {
			c.propose(i, 1, fmt.Sprint("after ", i))
		}
	}
	c.isolate(network, leader, false)
	c.read(leader, 1)
	if !errors.Is(err, nodehost.ErrLeaderChanged) || !nodehost.MaybeApplied(err) {
		t.Errorf("a proposal whose leader lost its leadership: %v", err)
	}
}

// A callback that blocks costs events, which are counted, and nothing else.
func TestASlowCallbackLosesEventsOnly(t *testing.T) {
	c := newCluster(t, 1)
	release := make(chan struct{})
	var entered sync.Once
	blocked := make(chan struct{})
	c.configure = func(_ int, config *nodehost.Config) {
		config.Tuning.MaxEvents = 1
		config.Events.ReplicaReady = func(nodehost.ReplicaName) {
			entered.Do(func() { close(blocked) })
			<-release
		}
	}
	c.start(0)
	defer close(release)
	c.startShards(0, 1)
	<-blocked
	for id := uint64(2); id <= 10; id++ {
		c.startShards(0, id)
	}
	for id := uint64(1); id <= 10; id++ {
		// The event of the election may be among the lost ones.
		if _, err := c.shard(0, id).WaitLeader(patient(t)); err != nil {
			t.Fatal(err)
		}
		c.propose(0, id, "x")
	}
	if dropped := c.hosts[0].Info().Engine.EventsDropped; dropped == 0 {
		t.Error("no event was dropped")
	}
}

// A callback that panics ends that call only.
func TestAPanickingCallbackIsContained(t *testing.T) {
	c := newCluster(t, 1)
	changed := make(chan struct{}, 100)
	c.configure = func(_ int, config *nodehost.Config) {
		config.Events.ReplicaReady = func(nodehost.ReplicaName) { panic("callback") }
		config.Events.LeaderChanged = func(nodehost.ReplicaName, uint64, uint64) { changed <- struct{}{} }
	}
	c.startAll(1)
	c.propose(0, 1, "x")
	select {
	case <-changed:
	case <-patient(t).Done():
		t.Error("no event after one whose callback panicked")
	}
}

// Hosts of different deployments, or with an old epoch, do not talk to each other; the events say why.
func TestAForeignHostIsRefused(t *testing.T) {
	c := newCluster(t, 2)
	down := make(chan error, 1000)
	c.configure = func(i int, config *nodehost.Config) {
		config.Deployment = fmt.Sprint("deployment ", i)
		config.Events.ConnectionDown = func(_ string, err error) {
			select {
			case down <- err:
			default:
			}
		}
	}
	c.startAll(1)
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case err := <-down:
			if errors.Is(err, transport.ErrDeployment) {
				return
			}
		case <-deadline.C:
			t.Fatal("nobody was refused")
		}
	}
}
