package flotilla

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/network"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/memnet"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/transport"
)

// Engine returns the engine for the harness.
func Engine() benchmark.Engine {
	return benchmark.Engine{
		Name:       "flotilla",
		LogDBs:     []string{"seglog", "pebble"},
		Transports: []string{"tcp", "memnet"},
		Reads:      true,
		Leases:     true,
		Snapshots:  true,
		Start:      Start,
	}
}

// cluster is a set of NodeHosts. Shard s of the harness is shard s+1 here, host h has replica h+1 of each.
type cluster struct {
	options   benchmark.ClusterOptions
	network   *memnet.Network    // nil on TCP; its goroutines end with the hosts
	addresses *network.Addresses // nil on memnet
	hosts     []*host
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
	if err := c.connect(); err != nil {
		return err
	}
	members := make(map[uint64]string, c.options.Hosts)
	for i := range c.options.Hosts {
		members[uint64(i+1)] = c.address(i)
	}
	for i := range c.options.Hosts {
		if err := c.startHost(i); err != nil {
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

// connect gives the hosts addresses, and a distance if one is asked for.
func (c *cluster) connect() (err error) {
	if c.options.Transport != "memnet" {
		c.addresses, err = network.NewAddresses(c.options.Hosts, c.options.Delay)
		return err
	}
	if c.options.Delay > 0 {
		return errDelay
	}
	if c.network, err = memnet.NewNetwork(memnet.Options{}); err != nil {
		return err
	}
	c.network.Start()
	return nil
}

// errDelay refuses a delay where it would be that of another network than the other engines have.
var errDelay = errors.New("flotilla: a delay between hosts needs --transport tcp")

// address is where other hosts reach a host.
func (c *cluster) address(host int) string {
	if c.network != nil {
		return fmt.Sprintf("host%d:1", host+1)
	}
	return c.addresses.Public(host)
}

func (c *cluster) startHost(number int) error {
	config := nodehost.Config{
		Dir:        filepath.Join(c.options.Directory, fmt.Sprintf("host-%d", number+1)),
		Address:    c.address(number),
		Deployment: "benchmark",
		FS:         c.options.FS,
	}
	if c.options.LogDB == "pebble" {
		config.LogDB = nodehost.PebbleLog(pebblelog.Options{})
	}
	if c.addresses != nil {
		config.ListenAddress = c.addresses.Listen(number)
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

// atOnce is how many replicas are started, or leaders moved, at the same time: a start waits for a write that others can share, and ten
// thousand transfers one after the other would take minutes.
const atOnce = 64

// forShards calls f for every shard, atOnce at a time, and stops at errors.
func (c *cluster) forShards(f func(shard int) error) error {
	var next atomic.Int64
	errs := make([]error, min(atOnce, c.options.Shards))
	var work sync.WaitGroup
	for i := range errs {
		work.Go(func() {
			for errs[i] == nil {
				shard := int(next.Add(1) - 1)
				if shard >= c.options.Shards {
					return
				}
				errs[i] = f(shard)
			}
		})
	}
	work.Wait()
	return errors.Join(errs...)
}

func (c *cluster) startReplicas(ctx context.Context, number int, members map[uint64]string) error {
	c.hosts[number].shards = make([]*nodehost.Shard, c.options.Shards)
	return c.forShards(func(shard int) error { return c.startReplica(ctx, number, shard, members) })
}

func (c *cluster) startReplica(ctx context.Context, number, shard int, members map[uint64]string) error {
	h := c.hosts[number]
	machine := c.options.Machine(number, shard)
	replica := nodehost.ReplicaConfig{ShardID: uint64(shard + 1), ReplicaID: uint64(number + 1), Members: members,
		LeaseRead: c.options.LeaseRead}
	factory := func(uint64, uint64) (rsm.StateMachine, error) { return machine.StateMachine(), nil }
	if c.options.SnapshotEntries > 0 {
		replica.Snapshots.Entries = uint64(c.options.SnapshotEntries)
		factory = func(uint64, uint64) (rsm.StateMachine, error) { return machine.SnapshotStateMachine(), nil }
	}
	if err := h.node.StartReplica(ctx, replica, factory); err != nil {
		return err
	}
	handle, err := h.node.Shard(replica.ShardID)
	h.shards[shard] = handle
	return err
}

// BalanceLeaders implements benchmark.Cluster.
func (c *cluster) BalanceLeaders(ctx context.Context) error {
	return c.forShards(func(shard int) error { return c.moveLeader(ctx, shard) })
}

// moveLeader returns once the shard is led by the host whose number is the shard's modulo the hosts.
func (c *cluster) moveLeader(ctx context.Context, shard int) error {
	target := shard % len(c.hosts)
	for c.Leader(shard) != target {
		// Refused while the shard is between leaders; asked again until the context ends.
		if err := c.hosts[target].shards[shard].TransferLeader(ctx, uint64(target+1)); err != nil {
			if err := pause(ctx); err != nil {
				return fmt.Errorf("shard %d is not led by host %d: %w", shard, target, err)
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

// LogCounts implements benchmark.LogReporter.
func (c *cluster) LogCounts() (all []benchmark.LogCounts) {
	for _, h := range c.hosts {
		info := h.node.Info()
		all = append(all, benchmark.LogCounts{Store: info.Log, Cache: info.Cache})
	}
	return all
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
	if c.addresses != nil {
		faults = append(faults, c.addresses.Close())
	}
	return errors.Join(faults...)
}
