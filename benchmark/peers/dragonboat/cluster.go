package dragonboat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/logger"
	"github.com/lni/dragonboat/v4/plugin/tan"
	"github.com/lni/dragonboat/v4/raftio"
	"github.com/lni/dragonboat/v4/statemachine"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/network"
	"github.com/flotilla-raft/flotilla/benchmark/peers/window"
)

// manyShards is the number of shards above which timeouts are twice as long, and heartbeats four times as far apart.
const manyShards = 256

// compactionOverhead is how many entries stay in the log behind a snapshot, where snapshots are taken.
const compactionOverhead = 5000

const pollPause = 5 * time.Millisecond

// Engines returns the engines for the harness, the best one for many shards first.
func Engines() []benchmark.Engine {
	return []benchmark.Engine{
		engine("dragonboat", func(expert *config.ExpertConfig) {
			expert.Engine = config.GetDefaultEngineConfig()
			expert.Engine.ExecShards = 1
			expert.LogDB = config.GetDefaultLogDBConfig()
			expert.LogDB.Shards = 1
		}),
		engine("dragonboat-default", func(*config.ExpertConfig) {}),
		tanEngine(),
	}
}

// tanEngine looks first whether there is room for the files that tan preallocates: without, the library panics once the disk is full.
func tanEngine() benchmark.Engine {
	e := engine("dragonboat-tan", func(expert *config.ExpertConfig) { expert.LogDBFactory = tan.Factory })
	start := e.Start
	e.Start = func(ctx context.Context, options benchmark.ClusterOptions) (benchmark.Cluster, error) {
		if err := roomForTan(options); err != nil {
			return nil, err
		}
		return start(ctx, options)
	}
	return e
}

// tanFileBytes is what tan preallocates for a replica: plugin/tan has no option for it.
const tanFileBytes = 64 << 20

// ErrNoRoom is returned, wrapped, if tan cannot be started for want of disk.
var ErrNoRoom = errors.New("dragonboat: tan preallocates 64 MiB for each replica")

func roomForTan(options benchmark.ClusterOptions) error {
	usage, err := vfs.Default.GetDiskUsage(options.Directory)
	if err != nil {
		return fmt.Errorf("dragonboat: %w", err)
	}
	need := uint64(options.Hosts) * uint64(options.Shards) * tanFileBytes
	if need > usage.AvailBytes {
		return fmt.Errorf("%w: %d of them need %d GiB, and %d GiB are free", ErrNoRoom, options.Hosts*options.Shards, need>>30, usage.AvailBytes>>30)
	}
	return nil
}

func engine(name string, tune func(*config.ExpertConfig)) benchmark.Engine {
	return benchmark.Engine{
		Name: name, Reads: true, Snapshots: true, SyncsUncounted: true,
		Start: func(ctx context.Context, options benchmark.ClusterOptions) (benchmark.Cluster, error) {
			quiet()
			c := &cluster{options: options}
			if err := c.start(ctx, tune); err != nil {
				return nil, errors.Join(err, c.Close())
			}
			return c, nil
		},
	}
}

// quiet keeps the library's log to what went wrong, and the transport silent, which complains of every connection that a host ends
// when it is closed.
func quiet() {
	for _, name := range []string{"LogDB", "config", "dragonboat", "logdb", "pebblekv", "raft", "raftpb", "registry", "rsm", "server", "settings", "tan", "utils"} {
		logger.GetLogger(name).SetLevel(logger.ERROR)
	}
	logger.GetLogger("transport").SetLevel(logger.CRITICAL)
}

// cluster is a set of NodeHosts. Shard s of the harness is shard s+1 here, host h has replica h+1 of each.
type cluster struct {
	options       benchmark.ClusterOptions
	addresses     *network.Addresses
	hosts         []*dragonboat.NodeHost
	windows       []*window.Window[pending] // by shard
	leaderChanges atomic.Uint64
}

func (c *cluster) start(ctx context.Context, tune func(*config.ExpertConfig)) (err error) {
	if c.addresses, err = network.NewAddresses(c.options.Hosts, c.options.Delay); err != nil {
		return err
	}
	members := make(map[uint64]dragonboat.Target)
	for i := range c.options.Hosts {
		members[uint64(i+1)] = c.addresses.Public(i)
	}
	for i := range c.options.Hosts {
		hostConfig := config.NodeHostConfig{
			NodeHostDir:       filepath.Join(c.options.Directory, fmt.Sprintf("host-%d", i+1)),
			RTTMillisecond:    c.tick(),
			RaftAddress:       c.addresses.Public(i),
			ListenAddress:     c.addresses.Listen(i),
			RaftEventListener: &listener{cluster: c, replica: uint64(i + 1)},
		}
		tune(&hostConfig.Expert)
		host, err := dragonboat.NewNodeHost(hostConfig)
		if err != nil {
			return fmt.Errorf("dragonboat: host %d: %w", i, err)
		}
		c.hosts = append(c.hosts, host)
	}
	for i := range c.hosts {
		for shard := range c.options.Shards {
			if err := c.startReplica(i, shard, members); err != nil {
				return fmt.Errorf("dragonboat: host %d, shard %d: %w", i, shard, err)
			}
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
		}
	}
	c.windows = make([]*window.Window[pending], c.options.Shards)
	for shard := range c.windows {
		c.windows[shard] = window.New(pending.end)
		if err := c.awaitLeader(ctx, shard); err != nil {
			return err
		}
	}
	return nil
}

// tick is the unit of the library's timeouts in milliseconds.
func (c *cluster) tick() uint64 {
	if c.options.Shards > manyShards {
		return 200
	}
	return 100
}

// heartbeat is how many ticks there are to a heartbeat.
func (c *cluster) heartbeat() uint64 {
	if c.options.Shards > manyShards {
		return 2
	}
	return 1
}

func (c *cluster) startReplica(host, shard int, members map[uint64]dragonboat.Target) error {
	machine := c.options.Machine(host, shard)
	factory := func(uint64, uint64) statemachine.IStateMachine { return stateMachine{machine} }
	replica := config.Config{
		ShardID: uint64(shard + 1), ReplicaID: uint64(host + 1), CheckQuorum: true, PreVote: true, ElectionRTT: 10, HeartbeatRTT: c.heartbeat(),
		SnapshotEntries: uint64(c.options.SnapshotEntries),
	}
	if replica.SnapshotEntries > 0 {
		replica.CompactionOverhead = compactionOverhead
	}
	return c.hosts[host].StartReplica(members, false, factory, replica)
}

func (c *cluster) awaitLeader(ctx context.Context, shard int) error {
	for {
		if _, _, known, err := c.hosts[0].GetLeaderID(uint64(shard + 1)); err != nil {
			return fmt.Errorf("dragonboat: shard %d: %w", shard, err)
		} else if known {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("dragonboat: shard %d has no leader: %w", shard, err)
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pollPause):
		return nil
	}
}

// BalanceLeaders implements benchmark.Cluster.
func (c *cluster) BalanceLeaders(ctx context.Context) error {
	for shard := range c.options.Shards {
		target := shard % len(c.hosts)
		var asked time.Time
		for c.Leader(shard) != target {
			if time.Since(asked) > time.Second { // a transfer may be lost; one that is under way must not be disturbed
				asked = time.Now()
				err := c.hosts[c.Leader(shard)].RequestLeaderTransfer(uint64(shard+1), uint64(target+1))
				if err != nil && !errors.Is(err, dragonboat.ErrSystemBusy) {
					return fmt.Errorf("dragonboat: move the leader of shard %d: %w", shard, err)
				}
			}
			if err := pause(ctx); err != nil {
				return fmt.Errorf("dragonboat: shard %d is not led by host %d: %w", shard, target, err)
			}
		}
	}
	return nil
}

// Leader implements benchmark.Cluster.
func (c *cluster) Leader(shard int) int {
	best, bestTerm := 0, uint64(0)
	for i, host := range c.hosts {
		leader, term, known, err := host.GetLeaderID(uint64(shard + 1))
		if err == nil && known && leader == uint64(i+1) && term > bestTerm {
			best, bestTerm = i, term
		}
	}
	return best
}

// LeaderChanges implements benchmark.Cluster.
func (c *cluster) LeaderChanges() uint64 { return c.leaderChanges.Load() }

// Settle has nothing to do: the harness waits until the replicas have applied equally far.
func (c *cluster) Settle(context.Context) error { return nil }

// Close implements benchmark.Cluster.
func (c *cluster) Close() error {
	for _, host := range c.hosts {
		host.Close()
	}
	for _, w := range c.windows {
		if w != nil {
			w.Close()
		}
	}
	if c.addresses == nil {
		return nil
	}
	return c.addresses.Close()
}

// listener counts the leaders that a replica's own host saw it become.
type listener struct {
	cluster *cluster
	replica uint64
}

func (l *listener) LeaderUpdated(info raftio.LeaderInfo) {
	if info.LeaderID == l.replica {
		l.cluster.leaderChanges.Add(1)
	}
}

// stateMachine is the harness's machine behind the library's contract.
type stateMachine struct{ machine *benchmark.Machine }

func (s stateMachine) Update(entry statemachine.Entry) (statemachine.Result, error) {
	s.machine.Begin()
	s.machine.Apply(entry.Index, entry.Cmd)
	s.machine.End()
	return statemachine.Result{Value: entry.Index}, nil
}

func (s stateMachine) Lookup(query any) (any, error) {
	q, ok := query.(*benchmark.Query)
	if !ok {
		return nil, fmt.Errorf("dragonboat: query of type %T", query)
	}
	return q, s.machine.Lookup(q)
}

func (s stateMachine) SaveSnapshot(to io.Writer, _ statemachine.ISnapshotFileCollection, _ <-chan struct{}) error {
	return s.machine.Save(to)
}

func (s stateMachine) RecoverFromSnapshot(from io.Reader, _ []statemachine.SnapshotFile, _ <-chan struct{}) error {
	return s.machine.Recover(from)
}

func (s stateMachine) Close() error { return nil }
