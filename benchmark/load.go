package benchmark

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	busyPause  = time.Millisecond      // before a request that was refused as busy is issued again
	errorPause = 10 * time.Millisecond // after any other failure, which may need another leader first

	// maxAnsweredAtOnce bounds the requests that a client issues in a row because the engine answers within the call.
	maxAnsweredAtOnce = 64
)

// Injection is a fault that the harness can be told to commit, to prove that its end check would see it.
type Injection string

// The faults: one command counted as acknowledged but never sent, and one command sent twice but counted once.
const (
	InjectNothing Injection = ""
	InjectLose    Injection = "lose"
	InjectDouble  Injection = "double"
)

// loadOptions describe a closed loop.
type loadOptions struct {
	shards, inFlight, payload int
	seed                      uint64
	readRatio                 float64
	blocking                  bool
	ownContext                bool
	offered                   float64 // writes a second; 0 for a closed loop
	inject                    Injection
}

// clientsOf returns how many of the requests in flight belong to a shard: an even share, the first shards taking the rest.
func (o loadOptions) clientsOf(shard int) int {
	clients := o.inFlight / o.shards
	if shard < o.inFlight%o.shards {
		clients++
	}
	return clients
}

// load is a closed loop: a fixed number of requests in flight, spread over the shards, each followed by the next when it ends.
// Every one is a client, prepared once, that numbers its commands.
type load struct {
	loadOptions
	cluster   Cluster
	base      time.Time
	readBelow uint64 // a random word below this makes a read
	clients   []client
	ofShard   [][]client // the same, by shard
	recorders []recorder
	retries   *retrier
	runners   *runners
	open      *openLoop // nil for a closed loop

	stopping atomic.Bool
	pending  sync.WaitGroup // one for each client that has not stopped
	left     atomic.Int64   // the same count, for reports

	injected  atomic.Bool
	errors    atomic.Uint64
	busy      atomic.Uint64
	unknown   atomic.Uint64
	stale     atomic.Uint64
	lastError atomic.Pointer[error]
}

// newLoad prepares the clients. It needs to know where the leaders are.
func newLoad(cluster Cluster, options loadOptions) *load {
	l := &load{
		loadOptions: options,
		cluster:     cluster,
		base:        time.Now(),
		clients:     make([]client, options.inFlight),
		ofShard:     make([][]client, options.shards),
		recorders:   newRecorders(options.shards),
	}
	l.readBelow = uint64(options.readRatio * (1 << 63))
	l.retries, l.runners = newRetrier(l), newRunners(l)
	l.injected.Store(options.inject == InjectNothing)
	if options.offered > 0 {
		l.open = newOpenLoop(l) // before the clients are bound to their callers
	}
	commands := make([]byte, options.inFlight*options.payload)
	first := 0
	for shard := range options.shards {
		count := options.clientsOf(shard)
		l.ofShard[shard] = l.clients[first : first+count : first+count]
		host := cluster.Leader(shard)
		for i := range l.ofShard[shard] {
			c := &l.ofShard[shard][i]
			at := (first + i) * options.payload
			*c = client{
				load: l, recorder: &l.recorders[shard%len(l.recorders)], shard: shard, host: host,
				key: shardKey(options.seed, shard), random: mix(options.seed ^ uint64(first+i)<<20),
				query: Query{Client: uint32(i)}, command: commands[at : at+options.payload : at+options.payload],
			}
			c.bind()
		}
		first += count
	}
	if l.open != nil {
		l.open.fill()
	}
	return l
}

// now is the time since the load was made. It reads only the monotonic clock, which is half the price of time.Now.
func (l *load) now() time.Duration { return time.Since(l.base) }

// start issues the first request of every client, or begins to offer.
func (l *load) start() {
	if l.open != nil {
		l.open.start()
		return
	}
	l.pending.Add(len(l.clients))
	l.left.Store(int64(len(l.clients)))
	if l.blocking {
		for i := range l.clients {
			go l.clients[i].block()
		}
		return
	}
	l.retries.start()
	l.runners.start()
	// Round the shards, so that none is ahead of the others.
	for i := 0; i < len(l.ofShard[0]); i++ {
		for shard := range l.ofShard {
			if i < len(l.ofShard[shard]) {
				c := &l.ofShard[shard][i]
				c.started = l.now()
				c.prepare()
				c.issue()
			}
		}
	}
}

// stop lets every client end with the request it has in flight. An error says how many did not end in time; the load must not be
// used any more then, and what those sent counts as unknown.
func (l *load) stop(ctx context.Context) error {
	l.stopping.Store(true)
	if l.open != nil {
		return l.open.stop(ctx)
	}
	ended := make(chan struct{})
	go func() {
		l.pending.Wait()
		if !l.blocking {
			l.retries.stop()
			l.runners.stop()
		}
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("benchmark: %d requests were never answered: %w", l.left.Load(), context.Cause(ctx))
	}
}

func (l *load) ended() {
	l.left.Add(-1)
	l.pending.Done()
}

// failed counts an outcome that is not a success and returns the pause before the next try.
func (l *load) failed(outcome Outcome) time.Duration {
	if !outcome.MayBeApplied && errors.Is(outcome.Err, ErrBusy) {
		l.busy.Add(1)
		return busyPause
	}
	l.errors.Add(1)
	l.lastError.Store(&outcome.Err)
	if outcome.MayBeApplied {
		l.unknown.Add(1)
	}
	return errorPause
}

// claimInjection is true once in the life of a load that was told to commit a fault, not with a client's first command.
func (l *load) claimInjection(sequence uint64) bool {
	return sequence > 1 && !l.injected.Load() && l.injected.CompareAndSwap(false, true)
}
