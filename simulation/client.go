package simulation

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
)

// status is how an operation stands.
type status uint8

const (
	statusOpen     status = iota
	statusAnswered        // done, with its result
	statusUnknown         // may be done
	statusRefused         // surely not done
)

var statusNames = [...]string{"open", "answered", "unknown", "refused"}

// operation is one request of a client with its outcome.
type operation struct {
	id       uint64
	read     bool
	probe    bool
	key      uint8
	shard    *shard
	host     *host
	life     uint32
	term     uint64 // in which it has to be done, 0 for any
	called   int64  // instants of the world
	calledAt raft.Instant
	returned int64
	status   status
	index    uint64 // where a write was applied, or what a read saw
	version  uint64
	made     uint64 // the version that a write made when it was applied
	floor    uint64 // what a request that ended before this one began has shown
	applied  *shard // in which life of the shard a write was applied first
}

// clients are processes outside the hosts. Each operation is asked of one replica, once, and never again: what its outcome
// says is what is checked.
type clients struct {
	world      *World
	random     random
	bounds     random       // of stale reads
	operations []*operation // by ID-1
	open       []*operation // in the order they were begun; ended ones are removed at the front
}

func newClients(w *World) *clients {
	return &clients{world: w, bounds: w.random, random: w.random.fork()}
}

// burst is how many operations at most a client begins at once.
const burst = 6

func (c *clients) begin() {
	c.arrive()
	c.sweep()
}

// arrive begins a burst and waits for the next.
func (c *clients) arrive() {
	w := c.world
	if w.quiet {
		return
	}
	mean := float64(time.Second) / (float64(w.options.Rate) * (1 - w.plan.sessions.share)) * (1 + burst) / 2
	w.after(c.random.exponential(mean), func() {
		if w.quiet {
			return
		}
		c.request()
		c.arrive()
	})
}

// request draws a shard and one of its replicas, more often than not the leader.
func (c *clients) request() {
	s := pick(&c.random, c.world.shards)
	p := s.askedPlace(&c.random)
	if p.witness() {
		return
	}
	if c.random.chance(0.6) {
		for _, other := range s.places {
			if other.state == placeRunning && other.replica.Leading() {
				p = other
			}
		}
	}
	if h := p.host; h.up && h.paused > c.world.now { // a caller in a process that stands still goes on when that does
		wait := h.paused - c.world.now + c.random.between(0, int64(300*time.Microsecond))
		c.world.after(wait, func() {
			if !c.world.quiet {
				c.ask(p)
			}
		})
		return
	}
	c.ask(p)
}

// ask begins a burst of operations at one replica.
func (c *clients) ask(p *place) {
	for range 1 + c.random.below(burst) {
		switch draw := c.random.unit(); {
		case draw < 0.28:
			c.read(p, false)
		case draw < 0.31:
			c.stale(p)
		case draw < 0.36:
			term := uint64(0)
			if p.replica != nil {
				_, term = p.replica.Leader()
			}
			c.write(p, term, false)
		default:
			c.write(p, 0, false)
		}
	}
	p.host.wake()
}

func (c *clients) operation(p *place, read, probe bool) *operation {
	w := c.world
	o := &operation{
		id: uint64(len(c.operations) + 1), read: read, probe: probe, key: uint8(c.random.below(keyCount)), shard: p.shard, host: p.host,
		life: p.host.life, called: w.now, calledAt: p.host.now(), floor: p.shard.floor,
	}
	c.operations = append(c.operations, o)
	w.counters.add(countOperations, 1)
	name := "write"
	if read {
		name = "read"
		w.counters.add(countReads, 1)
	}
	w.trace.add(record{at: w.now, kind: recordCall, host: int32(p.host.index), shard: p.shard.id, text: name,
		numbers: [6]uint64{o.id, uint64(o.key)}})
	return o
}

// usable says that a client finds a replica at a place.
func (p *place) usable() bool {
	return p.host.up && p.host.paused <= p.host.world.now && p.replica != nil
}

func (c *clients) write(p *place, term uint64, probe bool) *operation {
	o := c.operation(p, false, probe)
	o.term = term
	if !p.usable() {
		c.end(o, statusRefused, engine.ErrNotStarted)
		return o
	}
	c.open = append(c.open, o)
	err := p.replica.Propose(c.newCommand(&c.random, o.id, o.key), term, func(result rsm.Result, err error) { c.written(o, result, err) })
	if err != nil {
		c.written(o, rsm.Result{}, err)
	}
	return o
}

func (c *clients) read(p *place, probe bool) *operation {
	o := c.operation(p, true, probe)
	if !p.usable() {
		c.end(o, statusRefused, engine.ErrNotStarted)
		return o
	}
	c.open = append(c.open, o)
	err := p.replica.Read(o.key, func(value any, err error) { c.seen(o, value, err) })
	if err != nil {
		c.seen(o, nil, err)
	}
	return o
}

// stale looks at a replica's state as it is: it has to be one that once was, and if it was asked for with a bound it has to hold
// whatever had been shown that long before.
func (c *clients) stale(p *place) {
	if !p.usable() {
		return
	}
	w := c.world
	w.counters.add(countStaleReads, 1)
	bound := pick(&c.bounds, []time.Duration{0, 0, 60 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second})
	value, err := p.replica.StaleRead(uint8(0), bound)
	if err != nil {
		return
	}
	c.checkSeen(p.shard, value.(lookup), "a stale read")
	if bound == 0 {
		return
	}
	w.counters.add(countBoundedReads, 1)
	// The bound is by the host's clock, which may go slower than the world's.
	before := w.now - int64(float64(bound)/slowestPace)
	if shown := p.shard.shownBefore(before); value.(lookup).index < shown {
		w.violate("bounded stale reads", "shard %d: a read of at most %s of age at replica %d sees the state after entry %d, and %d had been shown before",
			p.shard.id, bound, p.host.index+1, value.(lookup).index, shown)
	}
}

// checkSeen: a state that was read is that of the decided history.
func (c *clients) checkSeen(s *shard, seen lookup, what string) {
	if seen.index == 0 {
		return
	}
	if decided := s.command(seen.index); decided == nil || decided.state != seen.state {
		c.world.violate("state machine safety", "shard %d: %s sees a state after entry %d that is not the decided one", s.id, what, seen.index)
	}
}

// written takes the outcome of a write.
func (c *clients) written(o *operation, result rsm.Result, err error) {
	if !c.answerable(o) {
		return
	}
	w := c.world
	if err == nil {
		c.checkFormer(o)
	}
	switch {
	case engine.MaybeApplied(err):
		c.end(o, statusUnknown, err)
	case err != nil:
		c.end(o, statusRefused, err)
		if o.index != 0 {
			w.violate("outcomes", "shard %d: operation %d is said to be surely not applied (%v), but it was, at entry %d", o.shard.id, o.id, err, o.index)
		}
	default:
		if o.index == 0 || result.Value != o.index {
			w.violate("outcomes", "shard %d: operation %d is answered with the result of entry %d, it was applied at %d (0: not at all)", o.shard.id,
				o.id, result.Value, o.index)
			return
		}
		if o.index <= o.floor {
			w.violate("linearizability", "shard %d: operation %d took place at entry %d, but began after entry %d had been shown", o.shard.id, o.id,
				o.index, o.floor)
		}
		if o.version = binary.LittleEndian.Uint64(result.Data); o.version != o.made {
			w.violate("outcomes", "shard %d: operation %d is answered with version %d, it made version %d", o.shard.id, o.id, o.version, o.made)
		}
		o.shard.show(o.index)
		c.end(o, statusAnswered, nil)
	}
}

// seen takes the outcome of a read.
func (c *clients) seen(o *operation, value any, err error) {
	if !c.answerable(o) {
		return
	}
	if err != nil {
		c.end(o, statusRefused, err)
		return
	}
	c.checkFormer(o)
	answer := value.(lookup)
	o.index, o.version = answer.index, answer.register.version
	if o.index < o.floor {
		c.world.violate("linearizability", "shard %d: read %d sees the state after entry %d, but began after entry %d had been shown", o.shard.id, o.id,
			o.index, o.floor)
	}
	c.checkSeen(o.shard, answer, "a read")
	o.shard.show(o.index)
	c.end(o, statusAnswered, nil)
}

// answerable: an operation is answered once (R3). What a dead host would still say is lost.
func (c *clients) answerable(o *operation) bool {
	c.world.happened++
	if o.status == statusOpen {
		return true
	}
	if o.life == o.host.life && o.host.up {
		c.world.violate("answers", "shard %d: operation %d is answered twice, it was %s before", o.shard.id, o.id, statusNames[o.status])
	}
	return false
}

func (c *clients) end(o *operation, s status, err error) {
	w := c.world
	o.status, o.returned = s, w.now
	switch s {
	case statusAnswered:
		w.counters.add(countAnswered, 1)
	case statusUnknown:
		w.counters.add(countUnknown, 1)
	case statusRefused:
		w.counters.add(countRefusedOperation, 1)
	}
	switch {
	case errors.Is(err, engine.ErrTimeout):
		w.counters.add(countTimeouts, 1)
	case errors.Is(err, engine.ErrBusy):
		w.counters.add(countBusy, 1)
	case errors.Is(err, engine.ErrTermMismatch):
		w.counters.add(countTermMismatch, 1)
	}
	w.trace.add(record{at: w.now, kind: recordAnswer, host: int32(o.host.index), shard: o.shard.id, text: statusNames[s],
		numbers: [6]uint64{o.id, o.index, o.version}})
}

// decided notes where an operation was applied for the first time, which has to be the only one.
func (c *clients) decided(s *shard, index, id, version uint64) {
	w := c.world
	if s.successor != nil { // what was decided before it was rebuilt may be applied by who comes back
		return
	}
	if id == 0 || id > uint64(len(c.operations)) {
		w.violate("integrity", "shard %d: entry %d holds operation %d, which nobody asked for", s.id, index, id)
		return
	}
	o := c.operations[id-1]
	switch {
	case o.shard.id != s.id || o.read:
		w.violate("integrity", "shard %d: entry %d holds operation %d of shard %d", s.id, index, id, o.shard.id)
	case o.index != 0:
		w.violate("outcomes", "shard %d: operation %d is applied at entry %d and at entry %d", s.id, id, o.index, index)
	case o.status == statusRefused:
		w.violate("outcomes", "shard %d: operation %d is applied at entry %d after it was said that it surely was not", s.id, id, index)
	case o.term != 0 && s.committed[index-1].term != o.term:
		w.violate("outcomes", "shard %d: operation %d was to be done in term %d only, and is applied in %d", s.id, id, o.term, s.committed[index-1].term)
	}
	if o.status == statusUnknown {
		w.counters.add(countRemoteUnknown, 1)
	}
	o.index, o.made, o.applied = index, version, s
}

// orphan ends what was asked of a host that crashed.
func (w *World) orphan(h *host) {
	for _, o := range w.clients.open {
		if o.host == h && o.life == h.life && o.status == statusOpen {
			w.clients.end(o, statusUnknown, nil)
		}
	}
	w.sessions.orphan(h)
}

// answerSlack is how much later than its deadline, by the host's own clock, a request may end.
const answerSlack = time.Second

// sweep looks for requests that have not ended in time (R3).
func (c *clients) sweep() {
	w := c.world
	kept := c.open[:0]
	for _, o := range c.open {
		if o.status != statusOpen {
			continue
		}
		kept = append(kept, o)
		if waited, late := w.overdue(o.host, o.calledAt); late {
			name := "write"
			if o.read {
				name = "read"
			}
			w.violate("answers", "shard %d: %s %d, asked of replica %d, has not ended after %v, the limit is %v", o.shard.id, name, o.id,
				o.host.index+1, waited, w.plan.requestTimeout)
		}
	}
	clear(c.open[len(kept):])
	c.open = kept
	w.sessions.sweep()
	w.checkDeposed()
	w.after(int64(500*time.Millisecond), c.sweep)
}

// overdue says that a request has waited for too long.
func (w *World) overdue(h *host, calledAt raft.Instant) (waited time.Duration, late bool) {
	waited = time.Duration(h.now() - calledAt)
	// A worker that is not woken for a proposal, because it waits behind others, notes the time when it looks at the
	// queue next. After a jump of the clock, or a pause, that may be just now: the timeout counts from there.
	undisturbed := time.Duration(w.now - max(h.paused, h.jumped))
	return waited, waited > w.plan.requestTimeout+answerSlack && undisturbed > w.plan.requestTimeout*5/4+answerSlack
}
