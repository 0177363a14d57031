package slowfollower

import (
	"context"
	"errors"
	"fmt"
	"github.com/flotilla-raft/flotilla/benchmark"
	"path/filepath"
	"time"

	"github.com/flotilla-raft/flotilla/internal/loopback"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

const pollInterval = 10 * time.Millisecond

// cluster is the hosts of one repeat; the last one is behind the gate.
type cluster struct {
	gate  gate
	hosts []*nodehost.NodeHost
	// machines and shards are by host, then by shard.
	machines [][]*tally
	shards   [][]*nodehost.Shard
}

func startCluster(ctx context.Context, o *Options, dir string) (c *cluster, err error) {
	c = &cluster{}
	addresses, err := loopback.Addresses(o.Hosts)
	if err != nil {
		return nil, err
	}
	c.gate.host = addresses[o.Hosts-1]
	members := map[uint64]string{}
	for i, address := range addresses {
		members[uint64(i+1)] = address
	}
	for i, address := range addresses {
		config := nodehost.Config{
			Dir: filepath.Join(dir, fmt.Sprintf("host-%d", i+1)), Address: address, Deployment: "benchmark", Transport: c.gate.transportOf,
			DiskReserveBytes: o.reserve,
		}
		if o.LogDB == "pebble" {
			config.LogDB = nodehost.PebbleLog(pebblelog.Options{})
		}
		host, err := nodehost.New(config)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.hosts = append(c.hosts, host)
	}
	for i := range c.hosts {
		if err := c.startShards(ctx, i, o.Shards, members); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func (c *cluster) startShards(ctx context.Context, i, shards int, members map[uint64]string) error {
	c.machines, c.shards = append(c.machines, nil), append(c.shards, nil)
	for id := uint64(1); id <= uint64(shards); id++ {
		machine := &tally{}
		err := c.hosts[i].StartReplica(ctx, nodehost.ReplicaConfig{ShardID: id, ReplicaID: uint64(i + 1), Members: members},
			func(uint64, uint64) (rsm.StateMachine, error) { return machine, nil })
		if err != nil {
			return err
		}
		shard, err := c.hosts[i].Shard(id)
		if err != nil {
			return err
		}
		c.machines[i], c.shards[i] = append(c.machines[i], machine), append(c.shards[i], shard)
	}
	return nil
}

// lead spreads the leaders over all hosts but the last and returns their handles, by shard.
func (c *cluster) lead(ctx context.Context) (leaders []*nodehost.Shard, err error) {
	for shard := range c.shards[0] {
		target := shard % (len(c.hosts) - 1)
		handle := c.shards[target][shard]
		for {
			if leader, _, ok := handle.Leader(); ok && leader == uint64(target+1) {
				break
			}
			if err := handle.TransferLeader(ctx, uint64(target+1)); err != nil {
				if err := benchmark.Wait(ctx, pollInterval); err != nil {
					return nil, fmt.Errorf("shard %d is not led by host %d: %w", shard+1, target+1, err)
				}
			}
		}
		leaders = append(leaders, handle)
	}
	return leaders, nil
}

// appliedBy returns how many commands each shard's machine on a host has applied.
func (c *cluster) appliedBy(host int) (counts []uint64) {
	for _, machine := range c.machines[host] {
		counts = append(counts, machine.count.Load())
	}
	return counts
}

// totals adds up what the hosts count. The last one loses sight of its leaders and finds them again, which is no change of leader.
func (c *cluster) totals() (logReads, elsewhere, leaderChanges uint64) {
	for i, host := range c.hosts {
		counters := host.Info().Engine
		logReads += counters.LogReads
		elsewhere += counters.LogReadsElsewhere
		if i < len(c.hosts)-1 {
			leaderChanges += counters.LeaderChanges
		}
	}
	return logReads, elsewhere, leaderChanges
}

// agree waits until all replicas have applied the same number of commands, and compares what they are.
func (c *cluster) agree(ctx context.Context) error {
	for shard := range c.machines[0] {
		first := c.machines[0][shard]
		for i := range c.machines {
			for c.machines[i][shard].count.Load() != first.count.Load() {
				if err := benchmark.Wait(ctx, pollInterval); err != nil {
					return fmt.Errorf("shard %d: host %d applied %d commands, host 1 %d: %w", shard+1, i+1,
						c.machines[i][shard].count.Load(), first.count.Load(), err)
				}
			}
			if c.machines[i][shard].hash.Load() != first.hash.Load() {
				return fmt.Errorf("shard %d: hosts 1 and %d applied different commands", shard+1, i+1)
			}
		}
	}
	return nil
}

// room returns an error when the disk of a host is below its reserve. A log that is kept for a stopped follower takes about ten
// times the bytes of the commands, on every host: without room for it there is no catching up, however long one waits.
func (c *cluster) room() error {
	for i, host := range c.hosts {
		if host.Info().DiskFull {
			return fmt.Errorf("%w: host %d is below its reserve; choose a shorter --duration or a --data with more room", nodehost.ErrDiskFull, i+1)
		}
	}
	return nil
}

func (c *cluster) close() (err error) {
	for _, host := range c.hosts {
		err = errors.Join(err, host.Close())
	}
	return err
}
