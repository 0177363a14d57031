package flotilla

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/memnet"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/transport"
)

// Engine returns the engine for the harness.
func Engine() benchmark.Engine {
	return benchmark.Engine{
		Name:       "flotilla",
		LogDBs:     []string{"pebble", "seglog"},
		Transports: []string{"tcp", "memnet"},
		Reads:      true,
		Start:      Start,
	}
}

// cluster is a set of NodeHosts. Shard s of the harness is shard s+1 here, host h has replica h+1 of each.
type cluster struct {
	options benchmark.ClusterOptions
	network *memnet.Network // nil on TCP; its goroutines end with the hosts
	hosts   []*host
}

type host struct {
	node   *nodehost.NodeHost
	shards []*nodehost.Shard
}

// Start brings up the hosts, every shard on each of them, and waits for leaders.
func Start(ctx context.Context, options benchmark.ClusterOptions) (benchmark.Cluster, error) {
	c := &cluster{options: options}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *cluster) start(ctx context.Context) error {
	if c.options.Transport == "memnet" {
		network, err := memnet.NewNetwork(memnet.Options{})
		if err != nil {
			return err
		}
		c.network = network
		network.Start()
	}
	addresses, err := c.addresses()
	if err != nil {
		return err
	}
	members := make(map[uint64]string, len(addresses))
	for i, address := range addresses {
		members[uint64(i+1)] = address
	}
	for i, address := range addresses {
		if err := c.startHost(i, address); err != nil {
			return err
		}
	}
	for i := range c.hosts {
		if err := c.startReplicas(ctx, i, members); err != nil {
			return err
		}
	}
	for shard := range c.options.Shards {
		if _, err := c.hosts[0].shards[shard].WaitLeader(ctx); err != nil {
			return err
		}
	}
	return nil
}

// addresses finds free loopback ports. They are given back before the hosts take them, so another program may be faster;
// then the start fails.
func (c *cluster) addresses() ([]string, error) {
	var addresses []string
	var listeners []net.Listener // all open until the last is, so that no port comes twice
	for i := range c.options.Hosts {
		if c.network != nil {
			addresses = append(addresses, fmt.Sprintf("host%d:1", i+1))
			continue
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, listener)
		addresses = append(addresses, listener.Addr().String())
	}
	for _, listener := range listeners {
		if err := listener.Close(); err != nil {
			return nil, err
		}
	}
	return addresses, nil
}

func (c *cluster) startHost(number int, address string) error {
	config := nodehost.Config{
		Dir:        filepath.Join(c.options.Directory, fmt.Sprintf("host-%d", number+1)),
		Address:    address,
		Deployment: "benchmark",
		FS:         c.options.FS,
	}
	if c.options.LogDB == "seglog" {
		config.LogDB = nodehost.SegmentedLog(seglog.Options{})
	}
	if c.network != nil {
		config.Transport = func(t nodehost.TransportContext) (transport.Transport, error) {
			return c.network.Host(t.Identity), nil
		}
	}
	node, err := nodehost.New(config)
	if err != nil {
		return err
	}
	c.hosts = append(c.hosts, &host{node: node})
	return nil
}

func (c *cluster) startReplicas(ctx context.Context, number int, members map[uint64]string) error {
	h := c.hosts[number]
	for shard := range c.options.Shards {
		machine := c.options.Machine(number, shard)
		replica := nodehost.ReplicaConfig{ShardID: uint64(shard + 1), ReplicaID: uint64(number + 1), Members: members}
		factory := func(uint64, uint64) (rsm.StateMachine, error) { return machine.StateMachine(), nil }
		if err := h.node.StartReplica(ctx, replica, factory); err != nil {
			return err
		}
		handle, err := h.node.Shard(replica.ShardID)
		if err != nil {
			return err
		}
		h.shards = append(h.shards, handle)
	}
	return nil
}

// BalanceLeaders implements benchmark.Cluster.
func (c *cluster) BalanceLeaders(ctx context.Context) error {
	for shard := range c.options.Shards {
		target := shard % len(c.hosts)
		for c.Leader(shard) != target {
			// Refused while the shard is between leaders; asked again until the context ends.
			if err := c.hosts[target].shards[shard].TransferLeader(ctx, uint64(target+1)); err != nil {
				if err := pause(ctx); err != nil {
					return fmt.Errorf("shard %d is not led by host %d: %w", shard, target, err)
				}
			}
		}
	}
	return nil
}

// pauseTime is how long the harness waits before it looks at a condition again that has no event.
const pauseTime = 5 * time.Millisecond

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pauseTime):
		return nil
	}
}

// Leader implements benchmark.Cluster.
func (c *cluster) Leader(shard int) int {
	best, bestTerm := 0, uint64(0)
	for i, h := range c.hosts {
		leader, term, ok := h.shards[shard].Leader()
		if ok && leader == uint64(i+1) && term > bestTerm {
			best, bestTerm = i, term
		}
	}
	return best
}

// LeaderChanges implements benchmark.Cluster: what the host that saw most of them saw.
func (c *cluster) LeaderChanges() (most uint64) {
	for _, h := range c.hosts {
		most = max(most, h.node.Info().Engine.LeaderChanges)
	}
	return most
}

// Settle waits until every replica has applied as much as the others of its shard.
func (c *cluster) Settle(ctx context.Context) error {
	for {
		applied := make([]uint64, c.options.Shards)
		settled := true
		for i, h := range c.hosts {
			for shard, info := range h.node.Info().Shards {
				settled = settled && (i == 0 || info.Applied == applied[shard])
				applied[shard] = info.Applied
			}
		}
		if settled {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("replicas did not reach the same index: %w", err)
		}
	}
}

// Close implements benchmark.Cluster.
func (c *cluster) Close() error {
	var faults []error
	for _, h := range c.hosts {
		faults = append(faults, h.node.Close())
	}
	return errors.Join(faults...)
}
