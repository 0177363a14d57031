package nodehost_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/memnet"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/transport"
)

// A power cut takes all three hosts at once and, with each file, what was not synced, or a part of it. Whatever was
// acknowledged before has to be there when the hosts are back.
//
// One scenario runs two generations of hosts, the second on what a cut of the first has left. In each, cuts are made at
// seeded points under load, without an end of the load: a cut is a copy of the three file systems as they would be found
// afterwards. Then hosts are started on each of the copies and asked. In every other scenario snapshots are taken every few entries,
// of machines of both kinds in memory, log is let go of, and one host after the other is cut off until it has to be sent a snapshot.
const (
	cutGenerations  = 2
	cutsInScenario  = 10 // 5 in each generation
	cutHosts        = 3
	cutScenarios    = 10 // 100 points on each store
	cutsShort       = 2  // scenarios with -short
	scenariosAtOnce = 4
)

func TestNothingAcknowledgedIsLostInAPowerCut(t *testing.T) {
	scenarios := max(cutScenarios, *soak)
	if testing.Short() {
		scenarios = max(cutsShort, *soak)
	}
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) { cutPower(t, store, scenarios) })
	}
}

func cutPower(t *testing.T, store store, scenarios int) {
	var running sync.WaitGroup
	seeds := make(chan uint64)
	var points, acknowledged, installed atomic.Int64
	for range scenariosAtOnce {
		running.Go(func() {
			for seed := range seeds {
				s := &cutScenario{store: store, random: rand.New(rand.NewPCG(seed, 1)), snapshots: seed%2 == 1}
				if err := s.run(); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
				points.Add(int64(s.points))
				acknowledged.Add(int64(s.checked))
				installed.Add(int64(s.installed))
			}
		})
	}
	for seed := range scenarios {
		seeds <- uint64(seed)
	}
	close(seeds)
	running.Wait()
	t.Logf("%d power cuts, %d times an acknowledged command was looked for", points.Load(), acknowledged.Load())
	if points.Load() != int64(scenarios*cutsInScenario) || acknowledged.Load() == 0 {
		t.Error("not every point was looked at")
	}
	t.Logf("%d snapshots were installed", installed.Load())
	if installed.Load() == 0 && !testing.Short() {
		t.Error("no host was sent a snapshot")
	}
}

// The test above would notice: with syncs that do nothing it fails.
func TestAPowerCutWithoutSyncsLosesWhatWasAcknowledged(t *testing.T) {
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			for _, snapshots := range []bool{false, true} {
				s := &cutScenario{store: store, random: rand.New(rand.NewPCG(1, 1)), withoutSyncs: true, snapshots: snapshots}
				if err := s.run(); !errors.Is(err, errLost) {
					t.Fatalf("without syncs, with snapshots %v: %v", snapshots, err)
				}
			}
		})
	}
}

var errLost = errors.New("an acknowledged command is lost")

// cutScenario is one run over all generations.
type cutScenario struct {
	store        store
	random       *rand.Rand
	withoutSyncs bool
	snapshots    bool

	points, checked int
	network         *memnet.Network // of the hosts that run
	installed       uint64          // snapshots that were streamed to a host and installed

	mu           sync.Mutex
	acknowledged map[string]bool
	refused      map[string]bool // surely not applied, whatever is cut
}

// cutPoint is what a power cut left, and what had been acknowledged before it.
type cutPoint struct {
	disks        []*vfs.MemFS
	acknowledged map[string]bool
}

func (s *cutScenario) run() error {
	s.acknowledged, s.refused = make(map[string]bool), make(map[string]bool)
	disks := make([]*vfs.MemFS, cutHosts)
	for i := range disks {
		disks[i] = vfs.NewCrashableMem()
	}
	for generation := range cutGenerations {
		points, err := s.cutUnderLoad(generation, disks)
		if err != nil {
			return fmt.Errorf("generation %d: %w", generation, err)
		}
		for n, point := range points {
			if err := s.check(point); err != nil {
				return fmt.Errorf("generation %d, cut %d after %d acknowledgements: %w", generation, n, len(point.acknowledged), err)
			}
			s.points++
		}
		// The next generation lives on what the last cut left: later acknowledgements never happened.
		last := points[len(points)-1]
		disks, s.acknowledged = last.disks, last.acknowledged
	}
	return nil
}

// cutUnderLoad starts the hosts and callers on all of them, and cuts at points drawn by the number of acknowledgements.
func (s *cutScenario) cutUnderLoad(generation int, disks []*vfs.MemFS) (points []cutPoint, err error) {
	power := &powerSwitch{withoutSyncs: s.withoutSyncs}
	hosts, err := s.startHosts(disks, power)
	defer func() { err = errors.Join(err, closeCutHosts(hosts)) }()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	progress, stop, err := s.load(ctx, generation, hosts)
	if err != nil {
		return nil, err
	}
	for target := s.count(); len(points) < cutsInScenario/cutGenerations; {
		if s.snapshots && len(points)%2 == 1 { // the first members have met by then
			s.leaveBehind(ctx, hosts, s.random.IntN(cutHosts), progress)
			target = s.count()
		}
		target += 1 + s.random.IntN(120)
		await(ctx, progress, func() bool { return s.count() >= target })
		points = append(points, s.cut(disks, power))
	}
	for _, host := range hosts {
		s.installed += host.Info().Engine.SnapshotsInstalled
	}
	return points, stop()
}

// load has callers propose on all hosts until it is stopped. They say so each time something has ended. To have run out of time is an error.
func (s *cutScenario) load(ctx context.Context, generation int, hosts []*nodehost.NodeHost) (progress <-chan struct{}, stop func() error, err error) {
	shards := make([]*nodehost.Shard, len(hosts))
	for i, host := range hosts {
		if shards[i], err = host.Shard(1); err != nil {
			return nil, nil, err
		}
	}
	calls, cancel := context.WithCancel(ctx)
	ended := make(chan struct{}, 1)
	var callers sync.WaitGroup
	for i, shard := range shards {
		for caller := range 3 {
			callers.Go(func() {
				for n := 0; calls.Err() == nil; n++ {
					s.propose(calls, shard, fmt.Sprint(generation, "/", i, "/", caller, "/", n))
					select {
					case ended <- struct{}{}:
					default:
					}
				}
			})
		}
	}
	return ended, func() (err error) {
		if ctx.Err() != nil {
			err = fmt.Errorf("%d acknowledgements: %w", s.count(), ctx.Err())
		}
		cancel()
		callers.Wait()
		return err
	}, nil
}

// leaveBehind cuts one host off until the others' logs are compacted past it: the next cut of the power finds a snapshot on its way to it, or
// being installed, or has just missed it. The one left behind before has to be there again: three hosts of which two miss something
// decide nothing.
func (s *cutScenario) leaveBehind(ctx context.Context, hosts []*nodehost.NodeHost, host int, progress <-chan struct{}) {
	partition := func(cut bool) {
		for other := range cutHosts {
			if other != host {
				s.network.SetPartitioned(hostAddress(host), hostAddress(other), cut)
				s.network.SetPartitioned(hostAddress(other), hostAddress(host), cut)
			}
		}
	}
	applied := func(i int) uint64 { return hosts[i].Info().Shards[0].Applied }
	before := max(applied(0), applied(1), applied(2))
	await(ctx, progress, func() bool { return min(applied(0), applied(1), applied(2)) >= before })
	partition(true)
	target := s.count() + 4*int(oftenSaved.Entries)
	await(ctx, progress, func() bool { return s.count() >= target })
	partition(false)
}

// await waits for a condition that progress may bring about.
func await(ctx context.Context, progress <-chan struct{}, condition func() bool) {
	for !condition() && ctx.Err() == nil {
		select {
		case <-progress:
		case <-ctx.Done():
		}
	}
}

func hostAddress(i int) string { return fmt.Sprintf("host-%d:1", i+1) }

func (s *cutScenario) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acknowledged)
}

// propose proposes a command once and notes how it ended.
func (s *cutScenario) propose(ctx context.Context, shard *nodehost.Shard, command string) {
	_, err := shard.Propose(ctx, []byte(command))
	s.mu.Lock()
	switch {
	case err == nil:
		s.acknowledged[command] = true
	case !nodehost.MaybeApplied(err):
		s.refused[command] = true
	}
	s.mu.Unlock()
	if err != nil {
		_, _ = shard.WaitLeader(ctx)
	}
}

// cut copies the disks as a power cut would leave them. What had been acknowledged is noted first; then no sync may end anywhere
// while the copies are made, so that they show one moment: a host whose copy is older than what another one had heard
// from it would be a host that forgot, which no power cut makes of it.
func (s *cutScenario) cut(disks []*vfs.MemFS, power *powerSwitch) cutPoint {
	s.mu.Lock()
	point := cutPoint{acknowledged: maps.Clone(s.acknowledged)}
	s.mu.Unlock()
	power.mu.Lock()
	defer power.mu.Unlock()
	for _, disk := range disks {
		kept := 0
		if !s.withoutSyncs {
			kept = []int{0, 20, 50, 80, 100}[s.random.IntN(5)]
		}
		random := rand.New(rand.NewPCG(s.random.Uint64(), 2))
		point.disks = append(point.disks, disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: random}))
	}
	return point
}

// check starts hosts on what a cut left and looks for every acknowledged command on each of them.
func (s *cutScenario) check(point cutPoint) (err error) {
	copies := make([]*vfs.MemFS, len(point.disks))
	for i, disk := range point.disks {
		copies[i] = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))})
	}
	hosts, err := s.startHosts(copies, &powerSwitch{})
	defer func() { err = errors.Join(err, closeCutHosts(hosts)) }()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var first []string
	for i, host := range hosts {
		shard, err := host.Shard(1)
		if err != nil {
			return err
		}
		commands, err := readUntilAnswered(ctx, shard)
		if err != nil {
			return fmt.Errorf("host %d: %w", i, err)
		}
		if first == nil {
			first = commands
		}
		if !slices.Equal(first, commands) {
			return fmt.Errorf("hosts 0 and %d differ", i)
		}
	}
	s.checked += len(point.acknowledged)
	return s.compare(point.acknowledged, first)
}

func (s *cutScenario) compare(acknowledged map[string]bool, commands []string) error {
	seen := make(map[string]bool)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, command := range commands {
		if seen[command] {
			return fmt.Errorf("%q was applied twice", command)
		}
		if s.refused[command] {
			return fmt.Errorf("%q was refused, and applied", command)
		}
		seen[command] = true
	}
	for command := range acknowledged {
		if !seen[command] {
			return fmt.Errorf("%w: %q, one of %d", errLost, command, len(acknowledged))
		}
	}
	return nil
}

func readUntilAnswered(ctx context.Context, shard *nodehost.Shard) ([]string, error) {
	pause := time.NewTicker(2 * time.Millisecond)
	defer pause.Stop()
	for {
		if _, err := shard.WaitLeader(ctx); err != nil {
			return nil, fmt.Errorf("wait for a leader: %w", err)
		}
		value, err := shard.Read(ctx, nil)
		if err == nil {
			return value.([]string), nil
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("read: %w", err)
		}
	}
}

// startHosts starts three hosts with one shard on the disks, on a network of their own.
func (s *cutScenario) startHosts(disks []*vfs.MemFS, power *powerSwitch) (hosts []*nodehost.NodeHost, err error) {
	network, err := memnet.NewNetwork(memnet.Options{})
	if err != nil {
		return nil, err
	}
	network.Start()
	s.network = network
	members := map[uint64]string{1: "host-1:1", 2: "host-2:1", 3: "host-3:1"}
	for i, disk := range disks {
		host, err := nodehost.New(nodehost.Config{
			Dir: "/data/host", Address: members[uint64(i+1)], FS: &cutFS{disk, power}, DiskReserveBytes: -1, LogDB: s.store.open,
			ElectionTimeout: 150 * time.Millisecond, RequestTimeout: 5 * time.Second,
			Transport: func(c nodehost.TransportContext) (transport.Transport, error) { return network.Host(c.Identity), nil },
			Tuning:    nodehost.Tuning{PromiseInterval: 5 * time.Millisecond},
		})
		if err != nil {
			return hosts, err
		}
		hosts = append(hosts, host)
	}
	for i, host := range hosts {
		config := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: uint64(i + 1), Members: members}
		factory := rsm.Factory(newJournal)
		if s.snapshots {
			config.Snapshots = oftenSaved
			factory = savedFactory(i)
		}
		if err := host.StartReplica(context.Background(), config, factory); err != nil {
			return hosts, err
		}
	}
	return hosts, nil
}

func closeCutHosts(hosts []*nodehost.NodeHost) error {
	faults := make([]error, len(hosts))
	var closing sync.WaitGroup
	for i, host := range hosts {
		closing.Go(func() { faults[i] = host.Close() })
	}
	closing.Wait()
	return errors.Join(faults...)
}
