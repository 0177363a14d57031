package simulation

import (
	"slices"
	"time"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
)

// nemesis injects faults. Each kind has one of its own, with its own rate and draws, so that leaving a kind out leaves the others
// as they are for as long as the hosts do the same.
type nemesis struct {
	world  *World
	random random
	cuts   [][]int // how many faults cut the way from one host to another
	// installs is the one that draws for duringInstallation.
	installs *nemesis
}

func newNemesis(w *World) *nemesis {
	n := &nemesis{world: w, random: w.random.fork(), cuts: make([][]int, len(w.hosts))}
	for i := range n.cuts {
		n.cuts[i] = make([]int, len(w.hosts))
	}
	n.installs = &nemesis{world: w, random: random{state: mix(w.options.Seed ^ 0x696e7374)}, cuts: n.cuts}
	return n
}

func (n *nemesis) begin() {
	for kind := range firstOutcome {
		draws := &n.random
		if kind >= countDeafLeader { // came later, and leaves the draws of the others as they were
			draws = &random{state: mix(n.random.state + uint64(kind-countDeafLeader))}
		}
		own := &nemesis{world: n.world, random: draws.fork(), cuts: n.cuts}
		if n.world.plan.rates[kind] > 0 && !slices.Contains(n.world.options.Without, counterNames[kind]) {
			own.repeat(kind, n.world.plan.rates[kind], func() bool { return own.inject(kind) })
		}
	}
	n.beginFiles()
	n.beginSnapshotFaults()
	n.beginActs()
	n.beginMachineFaults()
}

// repeat injects faults of a kind, rate of them in a minute, until the end of all faults. It counts those for which inject returns true.
func (n *nemesis) repeat(kind counter, rate float64, inject func() bool) {
	w := n.world
	w.after(n.random.exponential(float64(time.Minute)/rate), func() {
		if w.quiet {
			return
		}
		if inject() {
			w.counters.add(kind, 1)
		}
		n.repeat(kind, rate, inject)
	})
}

// during undoes a fault later, unless the end of all faults was sooner.
func (n *nemesis) during(least, most time.Duration, undo func()) {
	w := n.world
	w.after(n.random.between(int64(least), int64(most)), func() {
		if !w.quiet {
			undo()
		}
	})
}

func (n *nemesis) note(h *host, text string, a, b uint64) {
	n.world.trace.add(record{at: n.world.now, kind: recordFault, host: int32(h.index), text: text, numbers: [6]uint64{a, b}})
}

// inject does one fault of a kind, or returns false if it cannot be done now.
func (n *nemesis) inject(kind counter) bool {
	h := pick(&n.random, n.world.hosts)
	if n.random.chance(0.4) {
		h = n.leaderHost(h)
	}
	switch kind {
	case countCrash, countPowerLoss, countGracefulRestart, countReplicaStop, countTransfer, countNewTimeouts, countPause, countRemove, countSlowApply:
		return n.injectProcess(kind, h)
	case countClockJump, countClockDrift:
		return n.injectClock(kind, h)
	case countMachineFails, countFence:
		return n.fail(kind, h)
	case countChange, countCancelChange:
		return n.injectChange(kind, h)
	case countSlowDisk, countStall, countFailedSync, countFullDisk, countWipe, countLogWipe, countOldDisk:
		return n.injectDisk(kind, h)
	}
	return n.injectNetwork(kind, h)
}

// leaderHost returns a host that leads a drawn shard, or the given one.
func (n *nemesis) leaderHost(otherwise *host) *host {
	for _, p := range pick(&n.random, n.world.shards).places {
		if p.state == placeRunning && p.replica.Leading() {
			return p.host
		}
	}
	return otherwise
}

func (n *nemesis) crash(h *host, least, most time.Duration) {
	n.note(h, "crash", h.epoch, 0)
	h.crash()
	n.during(least, most, func() { n.world.bootIfDown(h) })
}

// duringInstallation ends a process now and then while one of its state machines is to recover from a snapshot: that takes so short that crashes at
// random moments hardly ever meet it.
func (n *nemesis) duringInstallation(h *host) {
	w, own := n.world, n.installs
	if w.quiet || h.doom > 0 || w.plan.rates[countCrash] == 0 || slices.Contains(w.options.Without, counterNames[countCrash]) || !own.random.chance(0.2) {
		return
	}
	w.counters.add(countCrash, 1)
	h.doom = 1 + own.random.below(100)
	h.doomed = func() { own.crash(h, 0, 400*time.Millisecond) }
}

func (n *nemesis) injectProcess(kind counter, h *host) bool {
	w := n.world
	switch kind {
	case countCrash:
		if !h.up {
			return false
		}
		most := 400 * time.Millisecond
		if n.random.chance(0.3) {
			most = 6 * time.Second
		}
		if n.random.chance(0.5) { // in the middle of whatever it does next
			h.doom = 1 + n.random.below(12)
			h.doomed = func() { n.crash(h, 0, most) }
			return true
		}
		n.crash(h, 0, most)
	case countPowerLoss:
		for _, other := range w.hosts {
			n.crash(other, 0, 2*time.Second)
		}
	case countGracefulRestart:
		n.note(h, "graceful restart", h.epoch, 0)
		h.restartGracefully()
	case countReplicaStop:
		p := h.places[n.random.below(len(h.places))]
		if p == nil || p.state != placeRunning {
			return false
		}
		n.note(h, "stop replica", p.shard.id, 0)
		p.wanted = false
		p.stop()
		n.during(0, pick(&n.random, []time.Duration{2 * time.Millisecond, 3 * time.Second}), func() {
			p.wanted = true
			p.settle()
		})
	case countTransfer:
		return n.transfer(h)
	case countNewTimeouts:
		return n.newTimeouts(h)
	case countPause:
		if !h.up {
			return false
		}
		n.note(h, "pause", 0, 0)
		if h.paused <= w.now {
			h.pausedAt = w.now
		}
		h.paused = max(h.paused, w.now+n.random.between(int64(5*time.Millisecond), int64(pick(&n.random, []time.Duration{300 * time.Millisecond, 5 * time.Second}))))
	case countSlowApply:
		if !h.up {
			return false
		}
		n.note(h, "slow state machines", 0, 0)
		h.slowApply = w.now + n.random.between(int64(500*time.Millisecond), int64(8*time.Second))
	case countRemove:
		p := h.places[n.random.below(len(h.places))]
		if p == nil || p.state != placeRunning || h.disk.failed || !n.mayLose([]*place{p}) {
			return false
		}
		n.note(h, "remove replica data", p.shard.id, 0)
		p.removed = true
		p.wanted = false
		p.stop()
		n.during(0, 2*time.Second, func() {
			p.wanted = true
			p.settle()
		})
	}
	return true
}

func (n *nemesis) transfer(h *host) bool {
	p := h.places[n.random.below(len(h.places))]
	if p == nil || p.state != placeRunning {
		return false
	}
	target := uint64(0)
	if n.random.chance(0.7) {
		target = uint64(pick(&n.random, p.shard.voters) + 1)
	}
	n.note(h, "transfer", p.shard.id, target)
	ended := p.transferAsked(target)
	p.replica.Transfer(target, func(err error) {
		ended(err)
		if err == nil {
			n.world.counters.add(countTransferDone, 1)
		}
	})
	h.wake()
	return true
}

// newTimeouts changes a replica's timeouts while it runs; those that it was started with are the longest, so that the recovery at the end
// is given its time.
func (n *nemesis) newTimeouts(h *host) bool {
	p := h.places[n.random.below(len(h.places))]
	if p == nil || p.state != placeRunning {
		return false
	}
	election := n.world.plan.raft.ElectionTimeout / time.Duration(1+n.random.below(2))
	n.note(h, "new timeouts", p.shard.id, uint64(election))
	p.replica.SetTimeouts(election, 0, func(error) {})
	h.wake()
	return true
}

func (n *nemesis) injectClock(kind counter, h *host) bool {
	if kind == countClockJump {
		jump := n.random.between(int64(time.Millisecond), int64(pick(&n.random, []time.Duration{50 * time.Millisecond, 2 * time.Second, 20 * time.Second})))
		n.note(h, "clock jump", uint64(jump), 0)
		h.changeClock(jump, h.clock.pace)
		return true
	}
	pace := 0.97 + 0.06*n.random.unit()
	if n.world.plan.leases { // two clocks may drift apart by a tenth
		pace = 0.955 + 0.09*n.random.unit()
	} else if n.random.chance(0.3) {
		pace = slowestPace + n.random.unit()
	}
	n.note(h, "clock drift", uint64(pace*1000), 0)
	h.changeClock(0, pace)
	n.during(time.Second, 15*time.Second, func() { h.changeClock(0, 1) })
	return true
}

func (n *nemesis) injectDisk(kind counter, h *host) bool {
	w, d := n.world, h.disk
	switch kind {
	case countSlowDisk:
		n.note(h, "slow disk", 0, 0)
		d.slowUntil = w.now + n.random.between(int64(100*time.Millisecond), int64(6*time.Second))
	case countStall:
		n.note(h, "disk stalls", 0, 0)
		d.stalledUntil = w.now + n.random.between(int64(50*time.Millisecond), int64(pick(&n.random, []time.Duration{time.Second, 8 * time.Second})))
	case countFailedSync:
		if !h.up || d.failed {
			return false
		}
		n.note(h, "failed sync", 0, 0)
		d.fail()
		h.wake()
		n.during(100*time.Millisecond, 6*time.Second, func() {
			if h.disk.failed {
				n.crash(h, 0, time.Second)
			}
		})
	case countFullDisk:
		if !h.up || d.full {
			return false
		}
		n.note(h, "disk full", 0, 0)
		d.full = true
		h.engine.SetDiskFull(true)
		h.wake()
		life := h.life
		n.during(200*time.Millisecond, 6*time.Second, func() {
			if h.life == life && h.up {
				d.full = false
				h.engine.SetDiskFull(false)
				h.wake()
			}
		})
	case countWipe, countLogWipe:
		return n.wipe(kind, h)
	case countOldDisk:
		return n.putBack(h)
	}
	return true
}

// wipe takes a disk away: the log store alone, or the whole data directory with identity, epoch and promises.
func (n *nemesis) wipe(kind counter, h *host) bool {
	if !n.mayLose(h.places) || kind == countLogWipe && slices.ContainsFunc(h.places, (*place).holdsFormerLife) {
		return false
	}
	h.crash()
	n.note(h, counterNames[kind], h.epoch, 0)
	h.disk.wipe()
	h.disk.backup = nil
	if kind == countWipe {
		h.snapshots = newSnapshotFiles()
		h.replaceMachines()
		h.identity, h.epoch = h.random.next()|1, 0
		h.promise.records = map[logdb.ReplicaKey]raft.Promised{}
	}
	for _, p := range h.places {
		switch {
		case p == nil:
		case p.shard.knows(p) || kind == countLogWipe && (h.promise.records[keyOf(p)] != (raft.Promised{}) || len(h.snapshots.list(p)) > 0):
			n.world.lose(p)
		default: // nobody counts on it, and whoever starts it again knows that the shard exists
			p.joins, p.lost, p.healed = true, false, false
			p.removeMachine()
		}
	}
	n.during(0, 3*time.Second, func() { n.world.bootIfDown(h) })
	return true
}

// putBack replaces a log store by an older copy, without the promises beside it. That goes unnoticed if nothing that the
// copy lacks was recorded as promised (R14); such a case is left alone, since nothing is guaranteed for it.
func (n *nemesis) putBack(h *host) bool {
	w := n.world
	b := h.disk.backup
	if b == nil || !n.mayLose(h.places) {
		return false
	}
	h.crash()
	if h.disk.backup != b { // the crash has shown damage, and nothing would notice that an older copy is put in its place
		n.during(0, time.Second, func() { w.bootIfDown(h) })
		return false
	}
	var less []*place
	for _, p := range h.places {
		if p == nil {
			continue
		}
		key := keyOf(p)
		old, current := b.durable[key], h.disk.durable[key]
		if p.lost && old != nil && !noticed(old, h.promise.records[key]) { // it would have again what it lost with its snapshots
			n.during(0, time.Second, func() { w.bootIfDown(h) })
			return false
		}
		if !p.sound() {
			continue
		}
		if current == nil {
			continue
		}
		if old == nil {
			old = &mirror{}
		}
		same := old.last() == current.last() && old.lastTerm() == current.lastTerm() && old.state.Term == current.state.Term && old.state.Vote == current.state.Vote
		if same && old.installing == current.installing {
			continue
		}
		if !noticed(old, h.promise.records[key]) || old.installing != current.installing { // a snapshot that was recovered from may be gone
			n.during(0, time.Second, func() { w.bootIfDown(h) })
			return false
		}
		less = append(less, p)
	}
	n.note(h, "old disk", uint64(b.at), uint64(len(less)))
	h.disk.restoreBackup()
	for _, p := range less {
		w.lose(p)
	}
	n.during(0, time.Second, func() { w.bootIfDown(h) })
	return true
}

// noticed says whether a log that comes back as old is less than what is recorded of it.
func noticed(old *mirror, promised raft.Promised) bool {
	if old.state.Term != promised.VoteTerm {
		return old.state.Term < promised.VoteTerm
	}
	return !old.holds(promised.Index, promised.Term)
}

// mayLose says whether the replicas of these places may lose what they promised: as long as a majority of every shard keeps it,
// or, in runs that are about that, at least one voter. A shard that has decided nothing yet is left alone, and so is who alone knows that a shard exists,
// and a shard of which another replica may come to know any time that its snapshots are damaged.
func (n *nemesis) mayLose(places []*place) bool {
	for _, p := range places {
		switch {
		case p == nil:
			continue
		case p.lost && !p.healed && p.aloneRemembers():
			return false
		case p.lost && !p.healed || !p.shard.knows(p):
			continue
		}
		if len(p.shard.committed) == 0 || p.shard.intact() < 2 || p.shard.scratched(p) || !n.world.plan.massLoss && !p.shard.keepsQuorum([]*place{p}) {
			return false
		}
	}
	return true
}

// lose notes that a replica's storage lost what it had promised.
func (w *World) lose(p *place) {
	kept := p.shard.keepsQuorum(nil)
	p.lost, p.healed, p.rests, p.held, p.resumed, p.lostAt = true, false, false, nil, false, p.host.world.now
	if len(p.shard.voters) == 1 { // it has nobody to ask: whoever starts it again has to know that the shard exists
		p.joins = true
	}
	if kept && !p.shard.keepsQuorum(nil) {
		w.counters.add(countStopped, 1)
	}
}
