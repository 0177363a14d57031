package benchmark

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

var (
	errFake  = errors.New("fake: failed")
	errClose = errors.New("fake: closed")
)

// fate is what the fake engine does with a request.
type fate int

const (
	fateApplied        fate = iota
	fateBusy                // refused by the call
	fateRefused             // refused by the callback
	fateUnknownApplied      // applied, but the outcome says unknown
	fateUnknownLost         // not applied, and the outcome says unknown
	fateUnknownLate         // the same, but applied together with the shard's next command
	fateLost                // acknowledged, not applied
	fateDoubled             // applied twice
	fateSkippedByOne        // the last host does not apply it
	fateDamaged             // applied with a flipped bit
	fateSilent              // never answered until the cluster is closed
	fateStale               // a read that misses the last write
)

// fakeEngine replicates by calling every machine from one goroutine for each shard. fates says what becomes of the n-th request.
type fakeEngine struct {
	hosts    int
	shards   []*fakeShard
	machines [][]*Machine
	fates    func(n int) fate
	requests atomic.Int64
	changes  atomic.Uint64
	settle   error
	work     sync.WaitGroup
	mu       sync.RWMutex
	closed   bool
}

type fakeShard struct {
	engine *fakeEngine
	number int
	queue  chan fakeRequest
	index  uint64
	late   []byte
	silent []func(Outcome)
}

type fakeRequest struct {
	command []byte
	query   *Query
	fate    fate
	done    func(Outcome)
}

// engineOf returns a fresh fake engine behind the harness's interface.
func engineOf(name string, fates func(n int) fate) Engine {
	return Engine{
		Name: name, Reads: true,
		Start: func(_ context.Context, options ClusterOptions) (Cluster, error) {
			return startFake(options, fates), nil
		},
	}
}

func startFake(options ClusterOptions, fates func(n int) fate) *fakeEngine {
	e := &fakeEngine{hosts: options.Hosts, fates: fates}
	for host := range options.Hosts {
		e.machines = append(e.machines, make([]*Machine, options.Shards))
		for shard := range options.Shards {
			e.machines[host][shard] = options.Machine(host, shard)
		}
	}
	for number := range options.Shards {
		s := &fakeShard{engine: e, number: number, queue: make(chan fakeRequest, 1000)}
		e.shards = append(e.shards, s)
		e.work.Go(s.run)
	}
	return e
}

func (e *fakeEngine) BalanceLeaders(context.Context) error { return nil }
func (e *fakeEngine) Leader(shard int) int                 { return shard % e.hosts }
func (e *fakeEngine) LeaderChanges() uint64                { return e.changes.Load() }
func (e *fakeEngine) Settle(context.Context) error         { return e.settle }

func (e *fakeEngine) Caller(_, shard int, done func(Outcome)) Caller {
	return &fakeCaller{e.shards[shard], done}
}

func (e *fakeEngine) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	for _, s := range e.shards {
		close(s.queue)
	}
	e.work.Wait()
	return nil
}

func (s *fakeShard) run() {
	for r := range s.queue {
		s.serve(r)
	}
	for _, done := range s.silent {
		done(Outcome{Err: errClose, MayBeApplied: true})
	}
}

func (s *fakeShard) serve(r fakeRequest) {
	if r.query != nil {
		s.read(r)
		return
	}
	if s.late != nil {
		s.apply(s.late, fateApplied)
		s.late = nil
	}
	switch r.fate {
	case fateRefused:
		r.done(Outcome{Err: errFake})
	case fateUnknownApplied:
		s.apply(r.command, fateApplied)
		r.done(Outcome{Err: errFake, MayBeApplied: true})
	case fateUnknownLost:
		r.done(Outcome{Err: errFake, MayBeApplied: true})
	case fateUnknownLate:
		s.late = r.command
		r.done(Outcome{Err: errFake, MayBeApplied: true})
	case fateSilent:
		s.silent = append(s.silent, r.done)
	case fateLost:
		r.done(Outcome{})
	case fateDoubled:
		s.apply(r.command, fateApplied)
		fallthrough
	default:
		s.apply(r.command, r.fate)
		r.done(Outcome{})
	}
}

func (s *fakeShard) apply(command []byte, f fate) {
	s.index++
	if f == fateDamaged {
		command[len(command)-1] ^= 1
	}
	for host := range s.engine.machines {
		if f == fateSkippedByOne && host == s.engine.hosts-1 {
			continue
		}
		m := s.engine.machines[host][s.number]
		m.Begin()
		m.Apply(s.index, command)
		m.End()
	}
}

func (s *fakeShard) read(r fakeRequest) {
	if r.fate == fateRefused {
		r.done(Outcome{Err: errFake})
		return
	}
	_ = s.engine.machines[0][s.number].Lookup(r.query)
	if r.fate == fateStale && r.query.Next > 0 {
		r.query.Next--
	}
	r.done(Outcome{})
}

type fakeCaller struct {
	shard *fakeShard
	done  func(Outcome)
}

func (c *fakeCaller) fate() fate {
	return c.shard.engine.fates(int(c.shard.engine.requests.Add(1)))
}

func (c *fakeCaller) ProposeAsync(command []byte) error {
	f := c.fate()
	if f == fateBusy {
		return ErrBusy
	}
	return c.send(fakeRequest{command: bytes.Clone(command), fate: f, done: c.done})
}

func (c *fakeCaller) ReadAsync(query *Query) (bool, error) {
	f := c.fate()
	switch {
	case f == fateBusy:
		return false, ErrBusy
	case query.Client%2 == 0: // half of them are answered at once
		_ = c.shard.engine.machines[0][c.shard.number].Lookup(query)
		if f == fateStale && query.Next > 0 {
			query.Next--
		}
		return true, nil
	}
	return false, c.send(fakeRequest{query: query, fate: f, done: c.done})
}

// send has room for every request of a test, so it never waits under the lock.
func (c *fakeCaller) send(r fakeRequest) error {
	c.shard.engine.mu.RLock()
	defer c.shard.engine.mu.RUnlock()
	if c.shard.engine.closed {
		return errClose
	}
	c.shard.queue <- r
	return nil
}

func (c *fakeCaller) Propose(_ context.Context, command []byte) Outcome {
	outcome := make(chan Outcome, 1)
	c2 := &fakeCaller{c.shard, func(o Outcome) { outcome <- o }}
	if err := c2.ProposeAsync(command); err != nil {
		return Outcome{Err: err}
	}
	return <-outcome
}

func (c *fakeCaller) Read(_ context.Context, query *Query) Outcome {
	outcome := make(chan Outcome, 1)
	c2 := &fakeCaller{c.shard, func(o Outcome) { outcome <- o }}
	if answered, err := c2.ReadAsync(query); answered || err != nil {
		return Outcome{Err: err}
	}
	return <-outcome
}
