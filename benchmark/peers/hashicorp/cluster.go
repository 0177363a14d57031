package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/network"
	"github.com/flotilla-raft/flotilla/benchmark/peers/window"
)

const (
	maxAppendEntries = 1024
	cachedLogs       = 8192
	electionTimeout  = time.Second
	transportTimeout = 10 * time.Second
	connections      = 3
	pollPause        = 5 * time.Millisecond
)

var errOneGroup = errors.New("hashicorp: there is only one group; use --shards 1")

// Engine returns the engine for the harness.
func Engine() benchmark.Engine {
	return benchmark.Engine{Name: "hashicorp", Start: start}
}

type cluster struct {
	options       benchmark.ClusterOptions
	addresses     *network.Addresses
	hosts         []*host
	window        *window.Window[pending]
	leaderChanges atomic.Uint64
	watchers      chan struct{} // one token for each watcher that has ended
	closed        chan struct{}
}

type host struct {
	raft      *raft.Raft
	wal       *wal.WAL
	transport *raft.NetworkTransport
}

func start(ctx context.Context, options benchmark.ClusterOptions) (benchmark.Cluster, error) {
	if options.Shards != 1 {
		return nil, errOneGroup
	}
	c := &cluster{options: options, closed: make(chan struct{}), watchers: make(chan struct{}, options.Hosts)}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *cluster) start(ctx context.Context) (err error) {
	if c.addresses, err = network.NewAddresses(c.options.Hosts, c.options.Delay); err != nil {
		return err
	}
	for number := range c.options.Hosts {
		if err := c.startHost(number); err != nil {
			return fmt.Errorf("hashicorp: host %d: %w", number, err)
		}
	}
	var members raft.Configuration
	for number := range c.options.Hosts {
		members.Servers = append(members.Servers, raft.Server{
			ID: serverID(number), Address: raft.ServerAddress(c.addresses.Public(number)),
		})
	}
	if err := c.hosts[0].raft.BootstrapCluster(members).Error(); err != nil {
		return fmt.Errorf("hashicorp: %w", err)
	}
	for !c.led() {
		if err := pause(ctx); err != nil {
			return fmt.Errorf("hashicorp: no leader: %w", err)
		}
	}
	c.window = window.New(pending.end)
	return nil
}

func serverID(number int) raft.ServerID { return raft.ServerID(strconv.Itoa(number)) }

func (c *cluster) startHost(number int) error {
	directory := filepath.Join(c.options.Directory, fmt.Sprintf("host-%d", number+1))
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: io.Discard})
	files := countingFS{VFS: fs.New(), counted: c.options.CountSync}
	h := &host{}
	c.hosts = append(c.hosts, h)
	var err error
	if h.wal, err = wal.Open(directory, wal.WithLogger(logger), wal.WithSegmentFiler(segment.NewFiler(directory, files))); err != nil {
		return err
	}
	cache, err := raft.NewLogCache(cachedLogs, h.wal)
	if err != nil {
		return err
	}
	advertised, err := net.ResolveTCPAddr("tcp", c.addresses.Public(number))
	if err != nil {
		return err
	}
	if h.transport, err = raft.NewTCPTransportWithLogger(c.addresses.Listen(number), advertised, connections, transportTimeout, logger); err != nil {
		return err
	}
	led := make(chan bool, 1024)
	config := raft.DefaultConfig()
	config.LocalID = serverID(number)
	config.Logger = logger
	config.MaxAppendEntries = maxAppendEntries
	config.BatchApplyCh = true
	config.HeartbeatTimeout, config.ElectionTimeout = electionTimeout, electionTimeout
	config.SnapshotThreshold = 1 << 62
	config.NotifyCh = led
	h.raft, err = raft.NewRaft(config, &stateMachine{c.options.Machine(number, 0)}, cache, h.wal, raft.NewDiscardSnapshotStore(), h.transport)
	if err == nil {
		go c.watch(led)
	}
	return err
}

// watch counts how often a host begins to lead.
func (c *cluster) watch(led <-chan bool) {
	defer func() { c.watchers <- struct{}{} }()
	for {
		select {
		case leads := <-led:
			if leads {
				c.leaderChanges.Add(1)
			}
		case <-c.closed:
			return
		}
	}
}

func (c *cluster) led() bool {
	for _, h := range c.hosts {
		if h.raft.State() == raft.Leader {
			return true
		}
	}
	return false
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pollPause):
		return nil
	}
}

// BalanceLeaders makes host 0 lead, as it does in the other engines.
func (c *cluster) BalanceLeaders(ctx context.Context) error {
	for c.hosts[0].raft.State() != raft.Leader {
		to := raft.ServerAddress(c.addresses.Public(0))
		// Refused while there is no leader; asked again until the context ends.
		_ = c.hosts[c.Leader(0)].raft.LeadershipTransferToServer(serverID(0), to).Error()
		if err := pause(ctx); err != nil {
			return fmt.Errorf("hashicorp: host 0 does not lead: %w", err)
		}
	}
	return nil
}

// Leader implements benchmark.Cluster.
func (c *cluster) Leader(int) int {
	for number, h := range c.hosts {
		if h.raft.State() == raft.Leader {
			return number
		}
	}
	return 0
}

// LeaderChanges implements benchmark.Cluster.
func (c *cluster) LeaderChanges() uint64 { return c.leaderChanges.Load() }

// Settle has nothing to do: the harness waits until the replicas have applied equally far.
func (c *cluster) Settle(context.Context) error { return nil }

// Close implements benchmark.Cluster.
func (c *cluster) Close() (err error) {
	watchers := 0
	for _, h := range c.hosts {
		if h.raft != nil {
			err = errors.Join(err, h.raft.Shutdown().Error())
			watchers++
		}
	}
	close(c.closed)
	for range watchers {
		<-c.watchers
	}
	if c.window != nil {
		c.window.Close()
	}
	for _, h := range c.hosts {
		if h.transport != nil {
			err = errors.Join(err, h.transport.Close())
		}
		if h.wal != nil {
			err = errors.Join(err, h.wal.Close())
		}
	}
	if c.addresses != nil {
		err = errors.Join(err, c.addresses.Close())
	}
	return err
}

// countingFS counts the syncs of the log's segments. The few of the library's small database for terms and votes are not among
// them.
type countingFS struct {
	types.VFS
	counted func()
}

func (f countingFS) Create(directory, name string, size uint64) (types.WritableFile, error) {
	return f.wrap(f.VFS.Create(directory, name, size))
}

func (f countingFS) OpenWriter(directory, name string) (types.WritableFile, error) {
	return f.wrap(f.VFS.OpenWriter(directory, name))
}

func (f countingFS) wrap(file types.WritableFile, err error) (types.WritableFile, error) {
	if err != nil {
		return nil, err
	}
	return countingFile{file, f.counted}, nil
}

type countingFile struct {
	types.WritableFile
	counted func()
}

func (f countingFile) Sync() error {
	f.counted()
	return f.WritableFile.Sync()
}
