package snapshots

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/internal/loopback"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/kv"
	"github.com/flotilla-raft/flotilla/rsm/pebblekv"
)

// busyShards is how many other shards the two hosts of a stream share.
const busyShards = 47

// streamed is one stream to a replica that was just added.
type streamed struct {
	bytes     float64       // of the snapshot
	durable   time.Duration // from the offer until it was whole and durable
	installed time.Duration // until the state machine had recovered
}

func (s *streamed) bandwidth() float64 { return s.bytes / (1 << 20) / s.durable.Seconds() }

// stream is one repeat of the stream workload: what disk and loopback can do, then a stream of each kind of state machine as fast as it goes, then
// one at half the rate beside busy shards.
func stream(ctx context.Context, config *benchmark.Config, dir string) (f Figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout+2*config.Duration)
	defer cancel()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return f, err
	}
	if f.Disk, err = diskBandwidth(filepath.Join(dir, "yardstick"), config.StateMiB); err != nil {
		return f, err
	}
	if f.Loopback, err = loopbackBandwidth(config.StateMiB); err != nil {
		return f, err
	}
	slower := math.Min(f.Disk, f.Loopback)
	inMemory, err := streamTo(ctx, config, filepath.Join(dir, "memory"), false, 0, nil)
	if err != nil {
		return f, err
	}
	f.StreamMemory, f.InstallSeconds = inMemory.bandwidth(), inMemory.installed.Seconds()
	f.StreamMemoryRatio = f.StreamMemory / slower
	disk, err := streamTo(ctx, config, filepath.Join(dir, "disk"), true, 0, nil)
	if err != nil {
		return f, err
	}
	f.StreamDisk = disk.bandwidth()
	f.StreamDiskRatio = f.StreamDisk / slower
	busy := &busyLoad{}
	if _, err = streamTo(ctx, config, filepath.Join(dir, "busy"), false, int64(f.StreamMemory/2*(1<<20)), busy); err != nil {
		return f, err
	}
	f.BeforeP99, f.StreamP99 = milliseconds(busy.before), milliseconds(busy.during)
	if busy.before > 0 {
		f.P99Ratio = float64(busy.during) / float64(busy.before)
	}
	return f, nil
}

// streamTo makes a shard of one replica with a state, adds another one on a fresh host, and measures the stream to it. With a load the two hosts have
// other shards between them, whose latency is measured before and meanwhile.
func streamTo(ctx context.Context, config *benchmark.Config, dir string, disk bool, perSecond int64, busy *busyLoad) (s streamed, err error) {
	addresses, err := loopback.Addresses(2)
	if err != nil {
		return s, err
	}
	times := make(chan time.Time, 3)
	note := func() { times <- time.Now() }
	var hosts []*nodehost.NodeHost
	defer func() {
		if busy != nil {
			busy.stop()
		}
		for _, h := range hosts {
			err = errors.Join(err, h.Close())
		}
	}()
	factory := func(host int) rsm.Factory {
		return func(uint64, uint64) (rsm.StateMachine, error) {
			if disk {
				return pebblekv.New(pebblekv.Options{Dir: filepath.Join(dir, fmt.Sprintf("state-%d", host))})
			}
			return kv.New(), nil
		}
	}
	for i, address := range addresses {
		options := nodehost.Config{Dir: filepath.Join(dir, fmt.Sprintf("host-%d", i+1)), Address: address, Deployment: "benchmark"}
		options.Tuning.SnapshotStreamBytesPerSecond = perSecond
		options.Events.SnapshotOffered = func(nodehost.ReplicaName, uint64, uint64) { note() }
		options.Events.SnapshotReceived = func(nodehost.ReplicaName, uint64, uint64) { note() }
		options.Events.SnapshotInstalled = func(nodehost.ReplicaName, uint64) { note() }
		h, err := nodehost.New(options)
		if err != nil {
			return s, err
		}
		hosts = append(hosts, h)
	}
	policy := nodehost.SnapshotPolicy{Disabled: true, KeepEntries: -1, Retain: 1}
	err = hosts[0].StartReplica(ctx, nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Members: map[uint64]string{1: addresses[0]}, Snapshots: policy}, factory(1))
	if err != nil {
		return s, err
	}
	shard, err := hosts[0].Shard(1)
	if err != nil {
		return s, err
	}
	if _, err := shard.WaitLeader(ctx); err != nil {
		return s, err
	}
	if err := fillState(ctx, shard, config.StateMiB); err != nil {
		return s, err
	}
	if _, err := shard.Snapshot(ctx); err != nil { // the log lets go of what the other one would need
		return s, err
	}
	if busy != nil {
		if err := busy.start(ctx, hosts, addresses, config); err != nil {
			return s, err
		}
	}
	if err := hosts[1].StartReplica(ctx, nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 2, Join: true, Snapshots: policy}, factory(2)); err != nil {
		return s, err
	}
	if _, err := shard.ChangeMembers(ctx, raftpb.MembershipChange{Members: []raftpb.MemberChange{{ReplicaID: 2, Kind: raftpb.Voter, Address: addresses[1]}}}); err != nil {
		return s, err
	}
	offered, received, installed := <-times, <-times, <-times
	if busy != nil {
		busy.conclude(offered, received)
	}
	s.bytes = float64(hosts[1].Info().Engine.StreamBytesReceived)
	s.durable, s.installed = received.Sub(offered), installed.Sub(offered)
	return s, nil
}

// busyLoad is one writer on each of many shards that two hosts share, at an even pace.
type busyLoad struct {
	cancel         context.CancelFunc
	writers        sync.WaitGroup
	began          time.Time
	mu             sync.Mutex
	writes         []write
	before, during time.Duration // p99
}

type write struct {
	at   time.Time
	took time.Duration
}

// pace is between two writes of one shard: together some hundreds a second, far from what would itself fill disk or processor.
const pace = 50 * time.Millisecond

func (b *busyLoad) start(ctx context.Context, hosts []*nodehost.NodeHost, addresses []string, config *benchmark.Config) error {
	ctx, b.cancel = context.WithCancel(ctx)
	members := map[uint64]string{1: addresses[0], 2: addresses[1]}
	for id := uint64(2); id < 2+busyShards; id++ {
		for i, h := range hosts {
			err := h.StartReplica(ctx, nodehost.ReplicaConfig{ShardID: id, ReplicaID: uint64(i + 1), Members: members}, func(uint64, uint64) (rsm.StateMachine, error) {
				return kv.New(), nil
			})
			if err != nil {
				return err
			}
		}
	}
	for id := uint64(2); id < 2+busyShards; id++ {
		shard, err := hosts[0].Shard(id)
		if err != nil {
			return err
		}
		if _, err := shard.WaitLeader(ctx); err != nil {
			return err
		}
		b.writers.Go(func() { b.write(ctx, shard, config.Payload) })
	}
	if err := benchmark.Wait(ctx, config.Warmup); err != nil {
		return err
	}
	b.began = time.Now()
	return benchmark.Wait(ctx, config.Duration)
}

func (b *busyLoad) write(ctx context.Context, shard *nodehost.Shard, payload int) {
	command := kv.Put([]byte("key"), make([]byte, payload))
	for benchmark.Wait(ctx, pace) == nil {
		began := time.Now()
		if _, err := shard.Propose(ctx, command); err == nil {
			b.mu.Lock()
			b.writes = append(b.writes, write{began, time.Since(began)})
			b.mu.Unlock()
		}
	}
}

// conclude compares the writes before a stream with those that began while it ran.
func (b *busyLoad) conclude(from, to time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before = p99(b.writes, b.began, from)
	b.during = p99(b.writes, from, to)
}

func p99(writes []write, from, to time.Time) time.Duration {
	var took []time.Duration
	for _, w := range writes {
		if !w.at.Before(from) && w.at.Before(to) {
			took = append(took, w.took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

func (b *busyLoad) stop() {
	if b.cancel != nil {
		b.cancel()
		b.writers.Wait()
	}
}
