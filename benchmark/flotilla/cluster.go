package flotilla

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"crypto/rand"
	"encoding/binary"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/transport"
	"github.com/flotilla-raft/flotilla/transport/tcp"
)

// Engine returns the engine for the harness.
func Engine() benchmark.Engine {
	return benchmark.Engine{Name: "flotilla", LogDBs: []string{"pebble"}, Transports: []string{"tcp", "memnet"}, Reads: true, Start: Start}
}

type cluster struct {
	options benchmark.ClusterOptions
	hosts   []*host
}

type host struct {
	store     *pebblelog.Store
	transport transport.Transport
	engine    *engine.Engine
	replicas  []*engine.Replica
}

type noPromises struct{}

func (noPromises) Promised(logdb.ReplicaKey) raft.Promised { return raft.Promised{} }
func (noPromises) Record([]engine.PromiseRecord) error     { return nil }

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// Start brings up the hosts, every shard on each of them, and waits for leaders.
func Start(ctx context.Context, options benchmark.ClusterOptions) (benchmark.Cluster, error) {
	c := &cluster{options: options}
	members := map[uint64]string{}
	for i := range options.Hosts {
		address := fmt.Sprintf("127.0.0.1:%d", 27100+i)
		members[uint64(i+1)] = address
		store, err := pebblelog.Open(pebblelog.Options{FS: options.FS, Dir: filepath.Join(options.Directory, fmt.Sprint("host", i))})
		if err != nil {
			return nil, err
		}
		t, err := tcp.New(tcp.Options{ListenAddress: address, Identity: transport.HostIdentity{Deployment: "bench", HostID: uint64(i + 1), Epoch: 1, Address: address}})
		if err != nil {
			return nil, err
		}
		e, err := engine.New(engine.Options{Address: address, LogDB: store, Transport: t, Cache: logdb.NewCache(logdb.CacheOptions{}), Promises: noPromises{}, Random: random})
		if err != nil {
			return nil, err
		}
		if err := t.Start(e); err != nil {
			return nil, err
		}
		e.Start()
		c.hosts = append(c.hosts, &host{store: store, transport: t, engine: e})
	}
	for i, h := range c.hosts {
		for shard := range options.Shards {
			errs := make(chan error, 1)
			machine := options.Machine(i, shard)
			h.engine.StartReplica(engine.ReplicaOptions{ShardID: uint64(shard + 1), ReplicaID: uint64(i + 1), Members: members},
				func(uint64, uint64) (rsm.StateMachine, error) { return machine.StateMachine(), nil },
				func(r *engine.Replica, err error) { h.replicas = append(h.replicas, r); errs <- err })
			if err := <-errs; err != nil {
				return nil, err
			}
		}
	}
	return c, c.wait(ctx, func(shard int) bool { return c.Leader(shard) >= 0 })
}

func (c *cluster) wait(ctx context.Context, condition func(shard int) bool) error {
	for shard := range c.options.Shards {
		for !condition(shard) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("shard %d: %w", shard, ctx.Err())
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return nil
}

// BalanceLeaders implements benchmark.Cluster.
func (c *cluster) BalanceLeaders(ctx context.Context) error {
	return c.wait(ctx, func(shard int) bool {
		target := shard % len(c.hosts)
		leader := c.Leader(shard)
		if leader == target || leader < 0 {
			return leader == target
		}
		done := make(chan error, 1)
		c.hosts[leader].replicas[shard].Transfer(uint64(target+1), func(err error) { done <- err })
		<-done
		return false
	})
}

// Leader implements benchmark.Cluster.
func (c *cluster) Leader(shard int) int {
	for i, h := range c.hosts {
		if h.replicas[shard].Leading() {
			return i
		}
	}
	return -1
}

// LeaderChanges implements benchmark.Cluster.
func (c *cluster) LeaderChanges() uint64 { return c.hosts[0].engine.Counters().LeaderChanges }

// Settle waits until every replica has applied what its leader has.
func (c *cluster) Settle(ctx context.Context) error {
	return c.wait(ctx, func(shard int) bool {
		for _, h := range c.hosts[1:] {
			if h.replicas[shard].Applied() != c.hosts[0].replicas[shard].Applied() {
				return false
			}
		}
		return true
	})
}

// Close implements benchmark.Cluster.
func (c *cluster) Close() error {
	var errs []error
	for _, h := range c.hosts {
		for _, r := range h.replicas {
			done := make(chan error, 1)
			h.engine.StopReplica(r, func(err error) { done <- err })
			errs = append(errs, <-done)
		}
	}
	for _, h := range c.hosts {
		errs = append(errs, h.transport.Close(), h.engine.Stop(), h.store.Close())
	}
	return errors.Join(errs...)
}
