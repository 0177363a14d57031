package simulation

import (
	"fmt"
	"strings"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
)

// recover ends all faults and the clients' requests, and then demands what has to come back by itself: within a bounded number of
// election timeouts every shard of which enough voters kept their promises serves writes and reads at every one of
// their replicas, all replicas agree, and nothing has work that nobody was told of.
//
// A shard without a quorum is let off in every run, not only in those with massLoss. What a file lost when it was written is known once it is read, by a
// start some seconds later, and until then its host counts as sound: another one may lose its log meanwhile (seed 15549158353 of "everything": after
// 1.6 s). Whoever wants to demand quorums has to have mayLose count such a host as lost, and seeds then mean something else.
func (w *World) recover() {
	w.mend()
	w.electOnFullDisks()
	bound := w.now + int64(recoveryElections*w.plan.raft.ElectionTimeout+4*w.plan.requestTimeout+recoverySlack)
	probes, asked := w.newProbes(), false
	for w.violation == nil && w.now < bound {
		w.runUntil(w.now+int64(20*time.Millisecond), func() bool { return false })
		if w.violation != nil || !probes.done() || len(w.openOperations()) > 0 || w.sessions.unfinished() || w.disagreement() != "" || w.unfinished() != "" {
			continue
		}
		if asked || w.sessions == nil {
			w.checkNobodyWaits()
			return
		}
		asked = true
		w.sessions.askEverywhere()
	}
	if w.violation != nil {
		return
	}
	if open := w.openOperations(); len(open) > 0 {
		w.violate("answers", "shard %d: operation %d has not ended", open[0].shard.id, open[0].id)
	}
	if w.sessions.unfinished() {
		w.violate("answers", "%d calls of sessions have not ended", w.sessions.open)
	}
	if missing := probes.missing(); missing != nil {
		leader, term := uint64(0), uint64(0)
		if missing.replica != nil {
			leader, term = missing.replica.Leader()
		}
		w.violate("liveness", "shard %d does not serve at replica %d (state %d, leader %d, term %d) long after the last fault; %d of %d voters kept their promises",
			missing.shard.id, missing.host.index+1, missing.state, leader, term, missing.shard.intact(), len(missing.shard.voters))
	}
	if why := w.unfinished(); why != "" {
		w.violate("liveness", "%s, long after the last fault", why)
	}
	w.violate("liveness", "%s, long after the last fault", w.disagreement())
}

// Recovery may take so many election timeouts, plus what requests may take, plus what the world itself needs to start hosts.
const (
	recoveryElections = 40
	recoverySlack     = 15 * time.Second
)

// mend ends every fault. What a disk or an engine has latched is cured by a restart of the host, as an operator would.
func (w *World) mend() {
	w.quiet = true
	w.finishActs()
	w.network.calm()
	for _, h := range w.hosts {
		h.doom = 0
		h.disk.slowUntil, h.slowApply = 0, 0
		h.changeClock(0, 1)
		h.snapshots.calm()
		h.machines.calm()
		if h.up && (h.disk.failed || h.stoppingAll || h.disk.mayFail()) {
			h.crash()
		}
		if !h.up {
			w.after(h.random.between(0, int64(500*time.Millisecond)), func() { w.bootIfDown(h) })
		}
		if h.up && h.disk.full {
			h.disk.full = false
			h.engine.SetDiskFull(false)
		}
		for _, p := range h.places {
			if p != nil && !p.wanted {
				p.wanted = true
				p.settle()
			}
			if p != nil && p.broken() {
				p.stop() // and, since it is wanted, started anew
			}
			if p != nil && p.gone {
				p.leave()
			}
		}
		h.wake()
	}
}

func (w *World) openOperations() []*operation {
	var open []*operation
	for _, o := range w.clients.open {
		if o.status == statusOpen {
			open = append(open, o)
		}
	}
	return open
}

// probes ask every replica that ought to serve for a read, and once all have answered for a write, again until it is
// answered. A shard in which nobody writes has to serve reads too.
type probes struct {
	world  *World
	places []*probe
	read   bool // all reads are answered
}

type probe struct {
	place       *place
	write, read *operation
}

func (w *World) newProbes() *probes {
	p := &probes{world: w}
	for _, s := range w.shards {
		if !s.recoverable() {
			continue
		}
		for _, place := range s.places {
			if !place.witness() {
				p.places = append(p.places, &probe{place: place})
			}
		}
	}
	return p
}

// due says that a place has to answer. A start behind the last fault may find damage that was done before, and the shard be without a quorum from then on.
func (p *probe) due() bool { return p.place.serves() && p.place.shard.recoverable() }

// done asks again where it is needed, and reports whether everything was answered.
func (p *probes) done() bool {
	all, read := true, true
	for _, probe := range p.places {
		if !probe.due() {
			continue
		}
		switch {
		case failed(probe.read):
			probe.read = p.world.clients.read(probe.place, true)
		case p.read && failed(probe.write):
			probe.write = p.world.clients.write(probe.place, 0, true)
		}
		probe.place.host.wake()
		read = read && probe.read != nil && probe.read.status == statusAnswered
		all = all && probe.write != nil && probe.write.status == statusAnswered
	}
	p.read = p.read || read
	return all
}

// failed says that there is no operation, or one that has to be tried again.
func failed(o *operation) bool {
	return o == nil || o.status == statusUnknown || o.status == statusRefused
}

// missing returns a place that has not answered, nil if all have.
func (p *probes) missing() *place {
	for _, probe := range p.places {
		if probe.due() && (probe.write == nil || probe.write.status != statusAnswered) {
			return probe.place
		}
	}
	return nil
}

// disagreement says which replica of a shard that ought to serve is not where the others are; empty if none.
func (w *World) disagreement() string {
	for _, s := range w.shards {
		if !s.recoverable() {
			continue
		}
		if p := s.unaware(); p != nil {
			return p.describe() + " is of a former life of the shard and was not told"
		}
		last := uint64(len(s.commands))
		for last > 0 && s.commands[last-1].operation == 0 {
			last--
		}
		for _, p := range s.places {
			if p.lost && p.state != placeRunning || !p.belongs() { // what is damaged may not start again
				continue
			}
			if p.lost && p.ought() {
				return p.describe() + " lost its state and does not vote again"
			}
			if p.witness() {
				if m := p.host.disk.durable[keyOf(p)]; m == nil || m.last() < last {
					return p.describe() + " is a witness and has not what the others have"
				}
				continue
			}
			if p.machine == nil || p.machine.index != last {
				return p.describe() + " has not applied what the others have"
			}
		}
	}
	return ""
}

func (p *place) describe() string {
	return fmt.Sprintf("replica %d of shard %d", p.host.index+1, p.shard.id)
}

// checkNobodyWaits: a worker that nobody signalled and whose deadline has not come has nothing to do (R29). A missing signal
// would hang production, so it must not be cured by running the worker all the same; here, at the end, it is found by
// just that.
func (w *World) checkNobodyWaits() {
	for _, h := range w.hosts {
		if !h.up || h.paused > w.now {
			continue
		}
		now := h.now()
		for i := range h.slots {
			s := &h.slots[i]
			if h.awake(s) || h.shared(s) {
				continue
			}
			before, frames := w.happened, w.network.frames
			deadline := s.worker.RunOnce(now)
			if w.happened != before || w.network.frames != frames || deadline <= now && deadline != s.deadline {
				w.violate("wake-ups", "host %d: worker %q had work although nobody had woken it", h.index+1, s.worker.Name())
				return
			}
			s.deadline = min(s.deadline, deadline)
			if s.deadline == raft.Never {
				continue
			}
			h.arm(i)
		}
	}
}

// awake says whether a worker is about to run, or on its way.
func (h *host) awake(s *slot) bool {
	return s.queued || s.routine != nil || s.worker.Ready() || s.deadline <= h.now()
}

// shared says whether a worker takes its work from a list that another one is about to look at: what that one was woken for this one would
// take as well.
func (h *host) shared(s *slot) bool {
	pool := poolOf(s.worker)
	if !engine.CallsUser(s.worker) && pool != "apply" && pool != "log reader" {
		return false
	}
	for i := range h.slots {
		if other := &h.slots[i]; other != s && poolOf(other.worker) == pool && h.awake(other) {
			return true
		}
	}
	return false
}

// poolOf returns a worker's name without the number that it has in its pool.
func poolOf(worker engine.Worker) string { return strings.TrimRight(worker.Name(), " 0123456789") }
