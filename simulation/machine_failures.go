package simulation

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The files of state machines on disk fail: a call fails, a sync does, the device is full for a while. The machine returns the error from whatever
// it was asked for, and is as broken as a database whose disk failed: it refuses everything from then on. Its replica is to be quarantined (R24),
// nobody is to call the machine again, and no log is to go, nor a snapshot to count as installed, for the sake of a Sync that failed. The others go on. The replica is
// started anew after a while, again and again if the device still fails, and what it has is what was synced, and some of the rest.

// machineFaultRates says how many faults of state machines' files there are in a minute, for all hosts together, in those runs that have them.
var machineFaultRates = map[string][firstMachineOutcome - firstMachineFault]float64{
	// failed calls, failed syncs, no space
	"snapshots": {10, 8, 5},
}

// machineFaultsChance is how many of the seeds have them.
const machineFaultsChance = 0.4

// drawMachineFaults says whether a run has them, and returns what they are drawn from. Seeds that were kept before there were such faults have none.
func (w *World) drawMachineFaults() (draws random, drawn bool) {
	draws = random{state: mix(w.options.Seed ^ 0x6469736b66756c6c)}
	_, known := machineFaultRates[w.options.Profile]
	return draws, draws.chance(machineFaultsChance) && known && w.plan.anyOnDisk()
}

func (n *nemesis) beginMachineFaults() {
	w := n.world
	draws, drawn := w.drawMachineFaults()
	if !drawn {
		return
	}
	for i, rate := range machineFaultRates[w.options.Profile] {
		kind := firstMachineFault + counter(i)
		own := &nemesis{world: w, random: draws.fork(), cuts: n.cuts}
		if rate > 0 && !slices.Contains(w.options.Without, counterNames[kind]) {
			own.repeat(kind, rate, func() bool { return own.injectMachineFault(kind, pick(&own.random, w.hosts)) })
		}
	}
}

func (n *nemesis) injectMachineFault(kind counter, h *host) bool {
	if !h.up || !h.machines.open {
		return false
	}
	n.note(h, counterNames[kind], 0, 0)
	files := h.machines.files
	switch kind {
	case countMachineCall:
		files.failAfter(1+n.random.below(30), pick(&n.random, []error{errDevice, syscall.ENOSPC}))
	case countMachineSync:
		files.failNextSync(errDevice)
	case countMachineSpace:
		files.fill(int64(n.random.below(8000)))
		n.during(200*time.Millisecond, 10*time.Second, func() { files.fill(-1) })
	}
	return true
}

// calm ends the faults that wait to happen.
func (f *machineFiles) calm() {
	if f.files != nil {
		f.files.failAfter(0, nil)
		f.files.failNextSync(nil)
		f.files.fill(-1)
	}
}

// durableJournal is how much of which journal a Sync has made durable, in which life of the host.
type durableJournal struct {
	life uint32
	name string
	end  int64
}

// called looks at a call: a machine that has failed gets none but Close.
func (m *diskMachine) called(what string) {
	if m.failed != nil && m.alive() {
		m.world.violate("quarantine", "%s: its state machine has failed (%v), and its %s is called", m.place.describe(), m.failed, what)
	}
}

// fails passes on what became of a call that was to change files.
func (m *diskMachine) fails(which counter, err error) error {
	if err == nil {
		return nil
	}
	m.failed = errors.Join(m.failed, err)
	if !m.alive() {
		return err
	}
	if !errors.Is(err, errDevice) && !errors.Is(err, syscall.ENOSPC) {
		m.world.violate("simulator", "%s: its state machine fails: %v", m.place.describe(), err)
		return err
	}
	m.world.counters.add(which, 1)
	p := m.place
	if p.machine != m.machine || p.failure.machine {
		return err
	}
	p.failure.machine, p.failure.files, p.failure.failedAt = true, true, max(1, m.world.now)
	h := p.host
	delay := h.random.between(int64(200*time.Millisecond), int64(8*time.Second))
	if m.world.quiet {
		delay = int64(200 * time.Millisecond)
	}
	p.restartLater(delay)
	return err
}

// restartLater starts a replica anew whose state machine has failed, unless somebody else has done that.
func (p *place) restartLater(delay int64) {
	h, machine, life := p.host, p.machine, p.host.life
	h.world.after(delay, func() {
		switch {
		case h.life != life || !h.up || p.machine != machine:
		case p.state == placeStarting:
			p.restartLater(int64(100 * time.Millisecond))
		default:
			p.stop() // and, unless it is not wanted, started
		}
	})
}

// machineRefuses says that a replica could not be started for the files of its state machine, and lets it be tried again.
func (p *place) machineRefuses(err error) bool {
	if !p.failure.files || !errors.Is(err, errDevice) && !errors.Is(err, syscall.ENOSPC) {
		return false
	}
	h, life := p.host, p.host.life
	h.world.after(h.random.between(int64(50*time.Millisecond), int64(2*time.Second)), func() {
		if h.life == life && h.up {
			p.settle()
		}
	})
	return true
}

// drop takes away what a Sync that failed was to make durable, of half of the machines: the system has dropped what it could not write. The others find it there at
// their next start. Either way it may be gone after the next power cut.
func (m *diskMachine) drop() {
	d := m.place.durable
	if !m.alive() || d.life != m.life || d.name != m.name || mix(m.chain)%2 == 0 {
		return
	}
	file, err := m.files.memory.OpenReadWrite(m.path(m.name), vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = file.WriteAt(make([]byte, m.end-d.end), d.end)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		m.world.violate("simulator", "%s: the journal of its state machine cannot be cut: %v", m.place.describe(), err)
	}
	m.world.counters.add(countMachineDropped, 1)
}
