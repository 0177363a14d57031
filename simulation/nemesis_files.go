package simulation

import (
	"slices"
	"time"
)

// fileRates says how many faults of files there are in a minute, for all hosts together, in the profiles that have some.
var fileRates = map[string][firstFileOutcome - firstFileFault]float64{
	// no space, flipped bits, zeroed sectors, lost writes, misdirected writes
	"disks":      {3, 3, 3, 3, 3},
	"everything": {1.5, 1.5, 1.5, 1.5, 1.5},
}

// beginFiles begins the faults of files, in a run on files.
func (n *nemesis) beginFiles() {
	w := n.world
	if !isFiled(w.options.LogDB) {
		return
	}
	for i, rate := range fileRates[w.options.Profile] {
		kind := firstFileFault + counter(i)
		own := &nemesis{world: w, random: n.random.fork(), cuts: n.cuts}
		if rate > 0 && !slices.Contains(w.options.Without, counterNames[kind]) {
			own.repeat(kind, rate, func() bool {
				own.injectFile(kind, pick(&own.random, w.hosts))
				return false // it is counted when it takes effect
			})
		}
	}
}

// injectFile does one fault to the files of a host.
func (n *nemesis) injectFile(kind counter, h *host) {
	w, s := n.world, h.disk.onFiles()
	if s == nil || !h.up {
		return
	}
	if kind == countNoSpace {
		n.note(h, counterNames[kind], 0, 0)
		s.files.fill(int64(n.random.below(20_000)))
		n.restartFailed(h)
		return
	}
	if h.disk.damaged || s.files.isDamaged() || !n.mayLose(h.places) {
		return
	}
	n.note(h, counterNames[kind], 0, 0)
	switch kind {
	case countFlippedBit, countZeroedSector:
		h.disk.harm = damageFlip
		if kind == countZeroedSector {
			h.disk.harm = damageZero
		}
		h.crash() // files are damaged where the power is cut
		n.during(0, time.Second, func() { w.bootIfDown(h) })
	case countLostFileWrite, countMisdirected:
		losing := loseWrite
		if kind == countMisdirected {
			losing = misplaceWrite
		}
		s.files.loseNext(losing, pick(&n.random, []fileClass{fileLog, fileLog, fileTable, fileManifest}))
		n.during(0, 3*time.Second, func() { // what nobody reads is found at the next start
			n.crash(h, 0, time.Second)
		})
	}
}

// restartFailed starts a host whose disk has failed anew, after a while.
func (n *nemesis) restartFailed(h *host) {
	n.during(100*time.Millisecond, 6*time.Second, func() {
		if h.disk.failed {
			n.crash(h, 0, time.Second)
		}
	})
}

// mayFail says that the files are damaged, or that a fault waits to happen there.
func (d *disk) mayFail() bool {
	s := d.onFiles()
	return s != nil && (d.damaged || s.files.armed())
}

// armed says whether a fault waits to happen, or has happened.
func (f *files) armed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	// A sync that failed in the background is known to the engine by its next write only.
	return f.damaged || f.losing != loseNothing || f.syncError != nil || f.counts.failedSyncs > 0 || f.room >= 0
}
