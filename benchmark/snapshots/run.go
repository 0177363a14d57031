package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/internal/loopback"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// stepTimeout bounds everything that only has to happen some time.
const stepTimeout = 5 * time.Minute

// run makes the repeats of a workload.
func run(ctx context.Context, config benchmark.Config, data string, out io.Writer) (*Report, error) {
	report := &Report{Workload: config.Workload, Hosts: config.Hosts, Payload: config.Payload, InFlight: config.InFlight, LogDB: config.LogDB,
		Entries: config.Entries, StateMiB: config.StateMiB}
	measure := restart
	if config.Workload == benchmark.WorkloadSnapshot {
		measure = take
	}
	if config.Workload == benchmark.WorkloadStream {
		measure = stream
	}
	for repeat := range config.Repeat {
		figures, err := measure(ctx, &config, filepath.Join(data, fmt.Sprintf("repeat-%d", repeat+1)))
		if err != nil {
			return report, err
		}
		fmt.Fprintf(out, "repeat %d of %d: %s\n", repeat+1, config.Repeat, &figures)
		report.Repeats = append(report.Repeats, figures)
	}
	report.conclude()
	return report, nil
}

// host is one host and its replica of the shard.
type host struct {
	*nodehost.NodeHost
	machine *pages
	shard   *nodehost.Shard
}

// start starts host i of those at addresses, with a replica of shard 1 whose machine has so many MiB.
func start(ctx context.Context, config *benchmark.Config, dir string, addresses []string, i, mib int) (*host, error) {
	options := nodehost.Config{Dir: filepath.Join(dir, fmt.Sprintf("host-%d", i+1)), Address: addresses[i], Deployment: "benchmark"}
	if config.LogDB == "pebble" {
		options.LogDB = nodehost.PebbleLog(pebblelog.Options{})
	}
	members := map[uint64]string{}
	for j, address := range addresses {
		members[uint64(j+1)] = address
	}
	made, err := nodehost.New(options)
	if err != nil {
		return nil, err
	}
	h := &host{NodeHost: made}
	err = h.StartReplica(ctx, nodehost.ReplicaConfig{
		ShardID: 1, ReplicaID: uint64(i + 1), Members: members, Snapshots: nodehost.SnapshotPolicy{Disabled: true},
	}, func(uint64, uint64) (rsm.StateMachine, error) {
		h.machine = newPages(mib)
		return h.machine, nil
	})
	if err == nil {
		h.shard, err = h.Shard(1)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// restart is one repeat of the restart workload.
func restart(ctx context.Context, config *benchmark.Config, dir string) (f Figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	addresses, err := loopback.Addresses(1)
	if err != nil {
		return f, err
	}
	unknown, err := fill(ctx, config, dir, addresses)
	if err != nil {
		return f, err
	}
	began := time.Now()
	h, err := start(ctx, config, dir, addresses, 0, 0)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	f.Started = time.Since(began).Seconds()
	if _, err := h.shard.WaitLeader(ctx); err != nil {
		return f, err
	}
	f.Led = time.Since(began).Seconds()
	value, err := h.shard.Read(ctx, nil)
	if err != nil {
		return f, err
	}
	f.Read = time.Since(began).Seconds()
	f.Applied = float64(value.(uint64))
	if least := float64(config.Entries + 1); f.Applied < least || f.Applied > least+float64(unknown) {
		return f, fmt.Errorf("snapshots: %.0f commands after the restart, want %.0f, and %d had an unknown outcome", f.Applied, least, unknown)
	}
	return f, nil
}

// fill takes a snapshot behind one command and applies the others. It returns how many of these may be in twice, because they were sent again without
// knowing what had become of them.
func fill(ctx context.Context, config *benchmark.Config, dir string, addresses []string) (unknown uint64, err error) {
	h, err := start(ctx, config, dir, addresses, 0, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if _, err := h.shard.WaitLeader(ctx); err != nil {
		return 0, err
	}
	if _, err := h.shard.Propose(ctx, make([]byte, config.Payload)); err != nil {
		return 0, err
	}
	if _, err := h.shard.Snapshot(ctx); err != nil {
		return 0, err
	}
	l := startLoad(h.shard, config.Payload, config.InFlight, int64(config.Entries))
	l.clients.Wait()
	return l.unknown.Load(), nil
}

// take is one repeat of the snapshot workload.
func take(ctx context.Context, config *benchmark.Config, dir string) (f Figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout+config.Warmup+config.Duration)
	defer cancel()
	addresses, err := loopback.Addresses(config.Hosts)
	if err != nil {
		return f, err
	}
	var hosts []*host
	defer func() {
		for _, h := range hosts {
			err = errors.Join(err, h.Close())
		}
	}()
	for i := range addresses {
		h, err := start(ctx, config, dir, addresses, i, config.StateMiB)
		if err != nil {
			return f, err
		}
		hosts = append(hosts, h)
	}
	id, err := hosts[0].shard.WaitLeader(ctx)
	if err != nil {
		return f, err
	}
	leader := hosts[id-1]
	l := startLoad(leader.shard, config.Payload, config.InFlight, 1<<62)
	defer l.stop()
	if err := benchmark.Wait(ctx, config.Warmup); err != nil {
		return f, err
	}
	before, err := l.measure(func() error { return benchmark.Wait(ctx, config.Duration) })
	if err != nil {
		return f, err
	}
	began := time.Now()
	during, err := l.measure(func() error { _, err := leader.shard.Snapshot(ctx); return err })
	if err != nil {
		return f, err
	}
	f.Seconds = time.Since(began).Seconds()
	f.Bandwidth = float64(leader.Info().Engine.SnapshotBytes) / (1 << 20) / f.Seconds
	f.Before, f.During = before.rate, during.rate
	f.BeforeGap, f.DuringGap = milliseconds(before.longest), milliseconds(during.longest)
	f.Pause = milliseconds(time.Duration(leader.machine.prepare.Load()))
	if f.Before > 0 {
		f.Ratio = f.During / f.Before
	}
	return f, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
