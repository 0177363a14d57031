package benchmark

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// offerInterval is how often an open loop issues what has become due. A request counts from the instant at which it was due.
	offerInterval = time.Millisecond
	// maxLag is how far an issuer may be behind; what was due before is not issued any more. Otherwise one that cannot offer what it was
	// told to would fall behind for ever, and its lag, not the engine, would be what is measured.
	maxLag = 10 * time.Millisecond
)

// offered is what an open loop has done up to a moment.
type offered struct {
	issued, refused uint64
	missed          uint64        // due, and not issued since no client was free, or the issuer too far behind
	cpu             time.Duration // of the issuing threads
}

// openLoop issues writes at a fixed rate, whatever becomes of them. Each takes a free client of its shard, which is free again when
// the request has ended. Shards are shared out among the issuers, which have threads of their own so that the system tells what they
// consume. There is one for every two processors: the others are the engine's, however much is offered.
type openLoop struct {
	load    *load
	shards  []freeClients
	issuers []*issuer
	work    sync.WaitGroup
}

// freeClients are those of a shard that have no request under way. The issuer works with a list of its own and takes over what has been
// returned once that is used up.
type freeClients struct {
	own      []*client
	mu       sync.Mutex
	returned []*client
	_        [64]byte // completions of different shards must not share a cache line
}

// issuer is one goroutine that offers, to the shards whose number modulo the issuers is its own.
type issuer struct {
	loop            *openLoop
	number, count   int
	issued, refused atomic.Uint64
	missed          atomic.Uint64
	cpu             atomic.Int64 // nanoseconds
}

func newOpenLoop(l *load) *openLoop {
	o := &openLoop{load: l, shards: make([]freeClients, l.shards)}
	issuers := min(max(1, runtime.GOMAXPROCS(0)/2), l.shards)
	for number := range issuers {
		o.issuers = append(o.issuers, &issuer{loop: o, number: number, count: issuers})
	}
	return o
}

// fill makes every client free.
func (o *openLoop) fill() {
	for shard := range o.shards {
		for i := range o.load.ofShard[shard] {
			o.shards[shard].own = append(o.shards[shard].own, &o.load.ofShard[shard][i])
		}
	}
}

func (o *openLoop) start() {
	for _, i := range o.issuers {
		o.work.Go(i.run)
	}
}

// stop waits for the issuers and then for every request under way.
func (o *openLoop) stop(ctx context.Context) error {
	o.work.Wait()
	ticker := time.NewTicker(offerInterval)
	defer ticker.Stop()
	for {
		left := len(o.load.clients)
		for shard := range o.shards {
			left -= o.shards[shard].len()
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("benchmark: %d requests were never answered: %w", left, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

func (f *freeClients) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.own) + len(f.returned)
}

// take returns a free client, nil if there is none. Only the shard's issuer calls it.
func (f *freeClients) take() *client {
	if len(f.own) == 0 {
		f.mu.Lock()
		f.own, f.returned = f.returned, f.own
		f.mu.Unlock()
	}
	last := len(f.own) - 1
	if last < 0 {
		return nil
	}
	c := f.own[last]
	f.own = f.own[:last]
	return c
}

func (f *freeClients) put(c *client) {
	f.mu.Lock()
	f.returned = append(f.returned, c)
	f.mu.Unlock()
}

// counted adds up what the issuers have done.
func (o *openLoop) counted() (sum offered) {
	for _, i := range o.issuers {
		sum.issued += i.issued.Load()
		sum.refused += i.refused.Load()
		sum.missed += i.missed.Load()
		sum.cpu += time.Duration(i.cpu.Load())
	}
	return sum
}

// run issues what is due until the load is stopped. One that falls behind goes on without pause.
func (i *issuer) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l := i.loop.load
	gap := float64(time.Second) * float64(i.count) / l.offered // between two requests of this issuer, in nanoseconds
	begin, cpu := l.now(), threadTime()
	due, shard := 0.0, i.number
	for !l.stopping.Load() {
		elapsed := float64(l.now() - begin)
		var issued, refused, missed uint64
		if late := elapsed - float64(maxLag) - due; late > gap {
			missed = uint64(late / gap)
			due += float64(missed) * gap
		}
		for n := 0; due <= elapsed && n < maxIssuedAtOnce; n++ {
			switch i.offer(shard, begin+time.Duration(due)) {
			case offerMissed:
				missed++
			case offerRefused:
				refused++
				issued++
			default:
				issued++
			}
			due += gap
			if shard += i.count; shard >= l.shards {
				shard = i.number
			}
		}
		i.issued.Add(issued)
		i.refused.Add(refused)
		i.missed.Add(missed)
		i.cpu.Store(int64(threadTime() - cpu))
		if due > float64(l.now()-begin) {
			time.Sleep(offerInterval)
		}
	}
}

// maxIssuedAtOnce bounds how long an issuer that is behind goes on without looking whether it is to stop.
const maxIssuedAtOnce = 100_000

// The ends of an offer.
const (
	offerIssued = iota
	offerRefused
	offerMissed
)

// offer issues one write to a shard.
func (i *issuer) offer(shard int, due time.Duration) int {
	free := &i.loop.shards[shard]
	c := free.take()
	if c == nil {
		return offerMissed
	}
	c.started = due
	writeCommand(c.command, c.key, c.query.Client, c.sequence)
	err := c.caller.ProposeAsync(c.command)
	if err == nil {
		return offerIssued
	}
	free.own = append(free.own, c) // it was surely not applied, so its number is used again
	if errors.Is(err, ErrBusy) {
		return offerRefused
	}
	c.load.failed(Outcome{Err: err})
	c.host = c.load.cluster.Leader(c.shard)
	c.bind()
	return offerIssued
}

// accepted is the callback of every request of an open loop that was not refused at once.
func (c *client) accepted(outcome Outcome) {
	switch {
	case outcome.Err == nil:
		c.recorder.record(false, c.load.now()-c.started)
		c.sequence++
	case outcome.MayBeApplied:
		c.load.failed(outcome)
		c.unknown = append(c.unknown, c.sequence)
		c.sequence++
	default:
		c.load.failed(outcome)
	}
	c.load.open.shards[c.shard].put(c)
}
