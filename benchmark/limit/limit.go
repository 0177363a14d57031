package limit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/network"
)

// ErrClosed ends requests that are pending when the cluster is closed, and refuses later ones.
var ErrClosed = errors.New("limit: closed")

// errReads is what reads are refused with.
var errReads = errors.New("limit: serves writes only")

const settlePoll = time.Millisecond

// Engine returns the engine, for the harness.
func Engine() benchmark.Engine {
	return benchmark.Engine{Name: "limit", Start: Start}
}

// Overwriting returns the engine whose files were written before and are written over, past the page cache: the same program with the file
// technique of the segmented log.
func Overwriting() benchmark.Engine {
	return benchmark.Engine{Name: "limit-overwriting", Start: func(ctx context.Context, options benchmark.ClusterOptions) (benchmark.Cluster, error) {
		c, err := start(ctx, options, defaultSegmentSize, true)
		if err != nil {
			return nil, err
		}
		return c, nil
	}}
}

// cluster is all hosts and shards.
type cluster struct {
	options benchmark.ClusterOptions
	hosts   []*host
	shards  []*shard
	batches atomic.Uint64 // taken over all shards

	addresses *network.Addresses

	segmentSize int  // bytes
	overwrite   bool // files are written over instead of allocated
	work        sync.WaitGroup

	mu     sync.Mutex
	failed error // the first failure, or ErrClosed
}

// Start brings the hosts up in this process. Shard s is led by host s modulo hosts.
func Start(ctx context.Context, options benchmark.ClusterOptions) (benchmark.Cluster, error) {
	c, err := start(ctx, options, defaultSegmentSize, false)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func start(ctx context.Context, options benchmark.ClusterOptions, segmentSize int, overwrite bool) (*cluster, error) {
	c := &cluster{options: options, segmentSize: segmentSize, overwrite: overwrite}
	for number := range options.Hosts {
		h := &host{cluster: c, number: number, links: make([]*link, options.Hosts)}
		h.wake.L = &h.mu
		c.hosts = append(c.hosts, h)
	}
	for number := range options.Shards {
		c.shards = append(c.shards, newShard(c, number, c.hosts[number%options.Hosts]))
	}
	if err := c.open(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	for _, h := range c.hosts {
		c.work.Go(h.log.run)
		c.work.Go(h.completeSaved)
	}
	return c, nil
}

// open creates the logs and connects every host with every other. Each connection carries frames one way only.
func (c *cluster) open(ctx context.Context) error {
	for _, h := range c.hosts {
		var err error
		if h.log, err = newLog(h, c.options.FS, c.directory(h)); err != nil {
			return err
		}
	}
	var err error
	if c.addresses, err = network.NewAddresses(len(c.hosts), c.options.Delay); err != nil {
		return fmt.Errorf("limit: %w", err)
	}
	for _, to := range c.hosts {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.addresses.Listen(to.number))
		if err != nil {
			return fmt.Errorf("limit: %w", err)
		}
		err = c.connect(ctx, listener, to)
		if err = errors.Join(err, listener.Close()); err != nil {
			return fmt.Errorf("limit: %w", err)
		}
	}
	return nil
}

// connect makes the links to a host. Dialling to loopback succeeds before the other end accepts, so one goroutine can do both.
func (c *cluster) connect(ctx context.Context, listener net.Listener, to *host) error {
	for _, from := range c.hosts {
		if from == to {
			continue
		}
		sending, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.addresses.Public(to.number))
		if err != nil {
			return err
		}
		receiving, err := listener.Accept()
		if err != nil {
			return errors.Join(err, sending.Close())
		}
		l := newLink(c, sending)
		from.links[to.number] = l
		c.work.Go(l.send)
		c.work.Go(func() {
			defer receiving.Close()
			to.receive(receiving)
		})
	}
	return nil
}

func (c *cluster) directory(h *host) string {
	return c.options.FS.PathJoin(c.options.Directory, "host-"+strconv.Itoa(h.number))
}

// fail ends everything. Only the first cause counts: what follows is the noise of a cluster that comes down.
func (c *cluster) fail(err error) {
	c.mu.Lock()
	first := c.failed == nil
	if first {
		c.failed = err
	}
	c.mu.Unlock()
	if !first {
		return
	}
	for _, h := range c.hosts {
		h.close()
	}
	for _, s := range c.shards {
		s.fail(err)
	}
}

func (c *cluster) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// Close ends what is pending and waits for every goroutine.
func (c *cluster) Close() error {
	c.fail(ErrClosed)
	c.work.Wait()
	var errs []error
	for _, h := range c.hosts {
		if h.log != nil {
			errs = append(errs, h.log.closeFile())
		}
	}
	if c.addresses != nil {
		errs = append(errs, c.addresses.Close())
	}
	return errors.Join(errs...)
}

// BalanceLeaders has nothing to do.
func (c *cluster) BalanceLeaders(context.Context) error { return nil }

// Leader returns the host that leads a shard.
func (c *cluster) Leader(shard int) int { return c.shards[shard].leader.number }

// LeaderChanges is 0 for ever.
func (c *cluster) LeaderChanges() uint64 { return 0 }

// Caller prepares requests. The host is ignored: there is no way but through the leader.
func (c *cluster) Caller(_, shard int, done func(benchmark.Outcome)) benchmark.Caller {
	return &caller{shard: c.shards[shard], done: done}
}

// Settle waits until every host has every batch on its disk, also those that only a majority has acknowledged so far, and then
// applies them.
func (c *cluster) Settle(ctx context.Context) error {
	ticker := time.NewTicker(settlePoll)
	defer ticker.Stop()
	taken := c.batches.Load()
	for _, h := range c.hosts {
		for h.log.durable.Load() < taken {
			if err := c.err(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-ticker.C:
			}
		}
	}
	return c.replay(ctx)
}

// caller is one client.
type caller struct {
	shard *shard
	done  func(benchmark.Outcome)
}

// ProposeAsync implements benchmark.Caller.
func (c *caller) ProposeAsync(command []byte) error {
	_, err := c.shard.propose(command, c.done)
	return err
}

// Propose implements benchmark.Caller. A context that cannot end costs a plain receive.
func (c *caller) Propose(ctx context.Context, command []byte) benchmark.Outcome {
	wait, err := c.shard.propose(command, nil)
	if err != nil {
		return benchmark.Outcome{Err: err}
	}
	if ctx.Done() == nil {
		<-wait.closed
		return wait.outcome
	}
	select {
	case <-wait.closed:
		return wait.outcome
	case <-ctx.Done():
		return benchmark.Outcome{Err: context.Cause(ctx), MayBeApplied: true}
	}
}

// ReadAsync implements benchmark.Caller: it refuses.
func (c *caller) ReadAsync(*benchmark.Query) (bool, error) { return false, errReads }

// Read implements benchmark.Caller: it refuses.
func (c *caller) Read(context.Context, *benchmark.Query) benchmark.Outcome {
	return benchmark.Outcome{Err: errReads}
}
