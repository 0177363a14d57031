package simulation

import (
	"fmt"
	"io"
	"runtime/debug"
	"time"
)

// World is one run: hosts, network, clients and faults, driven by one goroutine from one seed.
type World struct {
	options Options
	plan    plan
	random  random
	agenda  agenda
	now     int64 // nanoseconds since the world began
	steps   uint64
	runs    uint64

	network  *network
	hosts    []*host
	shards   []*shard
	clients  *clients
	sessions *sessions       // nil in a run without
	changes  []*memberChange // whose outcome is open
	nemesis  *nemesis
	// rebuildings are the shards that are being rebuilt.
	rebuildings []*rebuilding

	trace     trace
	counters  Counters
	violation *Violation
	quiet     bool // faults and clients have ended
	tight     bool // no disk has more room than its reserve
	happened  int
}

// Run makes a world and runs it to its end or to the first violation. The error matches ErrOptions.
func Run(options Options) (Result, error) { return RunTraced(options, nil) }

// RunTraced is Run with every record of the trace written to out, one a line. Errors of out are ignored.
func RunTraced(options Options, out io.Writer) (Result, error) {
	if err := options.Validate(); err != nil {
		return Result{}, err
	}
	options.setDefaults()
	w := newWorld(options, out)
	defer w.release()
	w.contain(w.live)
	if w.violation == nil {
		w.contain(w.recover)
	}
	if w.violation == nil {
		w.sessions.check()
	}
	if w.violation == nil && !options.NoPorcupine {
		w.checkHistories()
	}
	for _, h := range w.hosts {
		w.counters.add(countSnapshotCallFailed, int(h.snapshots.failures()))
		w.trace.add(record{at: w.now, kind: recordEnd, host: int32(h.index), text: "hash", numbers: [6]uint64{0, 0, h.disk.hash()}})
	}
	return Result{
		Seed: options.Seed, Hosts: len(w.hosts), Shards: len(w.shards), Virtual: time.Duration(w.now), Steps: w.steps, Runs: w.runs,
		Records: w.trace.records, Hash: w.trace.hash, Counters: w.counters, Violation: w.violation,
	}, nil
}

func newWorld(options Options, out io.Writer) *World {
	w := &World{options: options, random: random{state: mix(options.Seed + 1)}}
	w.trace.out = out
	draws := w.random.fork()
	w.plan = drawPlan(&draws, &options)
	w.network = newNetwork(w, w.plan.hosts)
	for i := range w.plan.hosts {
		w.hosts = append(w.hosts, newHost(w, i))
	}
	for i := range w.plan.shards {
		w.shards = append(w.shards, newShard(w, uint64(i+1), &draws))
		w.shards[i].machineKind = w.plan.machineKinds[i]
	}
	w.clients = newClients(w)
	w.sessions = newSessions(w)
	w.nemesis = newNemesis(w)
	for _, h := range w.hosts {
		for _, s := range w.shards {
			h.places = append(h.places, s.placeOn(h))
		}
	}
	for _, h := range w.hosts {
		if w.options.Profile != "calm" {
			h.lazy = h.random.chance(0.3)
		}
		w.after(h.random.between(0, int64(300*time.Millisecond)), func() { w.bootIfDown(h) })
	}
	return w
}

// release ends what goes on beside the world: the goroutines of log stores that have some.
func (w *World) release() {
	for _, h := range w.hosts {
		h.endRoutines()
		h.disk.closeFiles()
	}
}

// contain calls f. No panic leaves the engine's workers, whatever happens; one that does is a violation.
func (w *World) contain(f func()) {
	defer func() {
		if value := recover(); value != nil {
			w.violate("containment", "panic: %v\n%s", value, debug.Stack())
		}
	}()
	f()
}

// live runs clients and faults for as long as the options say.
func (w *World) live() {
	w.clients.begin()
	if w.sessions != nil {
		w.sessions.begin()
	}
	w.nemesis.begin()
	w.runUntil(int64(w.options.Duration), func() bool { return w.options.Steps > 0 && w.steps >= w.options.Steps })
}

// runUntil lets events happen up to an instant, to the first violation, or until the condition holds.
func (w *World) runUntil(end int64, condition func() bool) {
	for w.violation == nil {
		if at, ok := w.agenda.next(); !ok || at > end {
			break
		}
		if condition() {
			return
		}
		e := w.agenda.pop()
		w.now = max(w.now, e.at)
		w.steps++
		w.dispatch(&e)
	}
	if w.violation == nil {
		w.now = max(w.now, end)
	}
}

// dispatch lets one event happen.
func (w *World) dispatch(e *event) {
	if e.host < 0 {
		e.call()
		return
	}
	h := w.hosts[e.host]
	if e.life != h.life || !h.up {
		if e.kind == eventDeliver {
			w.network.drop(e.frame)
		}
		return
	}
	if h.paused > w.now {
		if e.kind == eventTimer {
			if h.slots[e.index].timer != e.at {
				return
			}
			h.slots[e.index].timer = h.paused
		}
		e.at = h.paused
		if e.kind == eventDeliver { // what arrived meanwhile is read from each connection a little later, in order
			from := uint64(e.frame.link.endpoint.host.index)<<8 | uint64(e.frame.link.lane)
			e.at += int64(mix(uint64(h.paused)^from) % uint64(time.Millisecond))
		}
		w.agenda.push(*e)
		return
	}
	switch e.kind {
	case eventWorker:
		h.run(int(e.index))
	case eventTimer:
		h.timerDue(int(e.index), e.at)
	case eventDeliver:
		w.network.deliver(e.frame)
	case eventConnect:
		e.link.connect()
	case eventBroken:
		e.link.broken()
	case eventDisk:
		h.disk.due()
	case eventCall:
		e.call()
	}
	h.wake()
}

// after calls a function of the world later.
func (w *World) after(wait int64, call func()) {
	w.agenda.push(event{at: w.now + wait, kind: eventCall, host: -1, call: call})
}

// bootIfDown starts a host that does not run.
func (w *World) bootIfDown(h *host) {
	if !h.up {
		h.boot()
	}
}

// violate notes the first violation; the run ends with it.
func (w *World) violate(property, format string, arguments ...any) {
	if w.violation != nil {
		return
	}
	w.violation = &Violation{Property: property, Detail: fmt.Sprintf(format, arguments...), At: time.Duration(w.now), Tail: w.trace.last(60)}
}
