package simulation

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/internal/overlayfs"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// The files of snapshots fail as those of logs do: a call fails, the device is full, and bits flip in a file that was whole. None of that is a
// failure of the host. A snapshot that cannot be taken or received is tried again; one that is damaged is found when it is read, and the
// replica takes an older one, or has nothing left and is rebuilt by the others.

// snapshotFaultRates says how many faults of snapshots' files there are in a minute, for all hosts together, in runs with snapshots.
var snapshotFaultRates = map[string][firstSnapshotOutcome - firstSnapshotFault]float64{
	// failed calls, no space, flips
	"snapshots":  {8, 3, 6},
	"everything": {4, 1.5, 3},
}

var errDevice = errors.New("simulation: the device failed")

func (n *nemesis) beginSnapshotFaults() {
	w := n.world
	if w.plan.snapshots.every == 0 {
		return
	}
	draws := random{state: mix(w.options.Seed ^ 0x736e6170)}
	for i, rate := range snapshotFaultRates[w.options.Profile] {
		kind := firstSnapshotFault + counter(i)
		own := &nemesis{world: w, random: draws.fork(), cuts: n.cuts}
		if rate > 0 && !own.random.chance(0.15) && !slices.Contains(w.options.Without, counterNames[kind]) {
			own.repeat(kind, rate, func() bool { return own.injectSnapshotFault(kind, pick(&own.random, w.hosts)) })
		}
	}
}

func (n *nemesis) injectSnapshotFault(kind counter, h *host) bool {
	files := h.snapshots.files
	if !h.up || files == nil {
		return false
	}
	switch kind {
	case countSnapshotCall:
		n.note(h, counterNames[kind], 0, 0)
		files.failAfter(1+n.random.below(30), pick(&n.random, []error{errDevice, syscall.ENOSPC}))
	case countSnapshotSpace:
		n.note(h, counterNames[kind], 0, 0)
		files.fill(int64(n.random.below(20_000)))
		n.during(200*time.Millisecond, 6*time.Second, func() { files.fill(-1) })
	case countSnapshotFlip:
		return n.flip(h)
	}
	return true
}

// flip damages one snapshot, or all that a replica has.
func (n *nemesis) flip(h *host) bool {
	p := h.places[n.random.below(len(h.places))]
	if p == nil || p.witness() || !n.mayLose([]*place{p}) || p.shard.scratched(p) {
		return false
	}
	names := h.snapshots.list(p)
	if len(names) == 0 {
		return false
	}
	if n.random.chance(0.5) {
		names = names[:1]
	}
	for _, name := range names {
		if err := h.snapshots.flip(name, &n.random); err != nil {
			n.world.violate("simulator", "host %d: damaging a snapshot: %v", h.index+1, err)
			return false
		}
		n.note(h, counterNames[countSnapshotFlip], name.ShardID, name.Index)
	}
	return true
}

// calm ends the faults that wait to happen.
func (f *snapshotFiles) calm() {
	if f.files != nil {
		f.files.failAfter(0, nil)
		f.files.fill(-1)
	}
}

// failures returns how many calls have failed.
func (f *snapshotFiles) failures() uint64 {
	if f.files == nil {
		return f.failed
	}
	return f.failed + f.files.counts.failed + f.files.counts.full
}

// list returns the snapshots of a place's replica, newest first.
func (f *snapshotFiles) list(p *place) []snapshot.Name {
	directory, err := snapshot.OpenDirectory(overlayfs.New(f.memory), snapshotDirectory)
	if err != nil {
		return nil
	}
	return directory.List(p.shard.id, uint64(p.host.index+1))
}

// flip flips a bit of a snapshot.
func (f *snapshotFiles) flip(name snapshot.Name, r *random) error {
	directory, err := snapshot.OpenDirectory(overlayfs.New(f.memory), snapshotDirectory)
	if err != nil {
		return err
	}
	path := directory.Path(name)
	data, err := readWhole(f.memory, path)
	if err != nil || len(data) == 0 {
		return err
	}
	at := r.below(len(data))
	file, err := f.memory.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.WriteAt([]byte{data[at] ^ 1<<r.below(8)}, int64(at))
	f.flipped = append(f.flipped, name)
	return errors.Join(err, file.Sync(), file.Close())
}

// isFlipped says that a snapshot of a place's replica was damaged. It may have been removed, or replaced, since.
func (f *snapshotFiles) isFlipped(p *place) bool {
	return slices.ContainsFunc(f.flipped, func(name snapshot.Name) bool { return name.ShardID == p.shard.id })
}

// scratched says that another replica of the shard has a snapshot that is damaged, and may come to know it: that is as good as lost.
func (s *shard) scratched(but *place) bool {
	return slices.ContainsFunc(s.places, func(p *place) bool { return p != but && p.scratched() })
}

func (p *place) scratched() bool {
	return slices.ContainsFunc(p.host.snapshots.list(p), func(name snapshot.Name) bool { return slices.Contains(p.host.snapshots.flipped, name) })
}

// checkDamagedSnapshot: only a snapshot that was damaged is said to be. A replica that has no other, and not all of its log, is lost.
func (w *World) checkDamagedSnapshot(h *host, e engine.Event) {
	p := h.places[e.ShardID-1]
	if p == nil || !errors.Is(e.Err, engine.ErrSnapshotDamaged) {
		return
	}
	w.counters.add(countSnapshotDamaged, 1)
	if !h.snapshots.isFlipped(p) && !p.lost && !p.repairing { // a rebuilding that ended in the midst has removed them
		w.violate("snapshot", "host %d: shard %d: what nobody has damaged is said to be damaged: %v", h.index+1, e.ShardID, e.Err)
		return
	}
	if e.Kind == engine.EventReplicaDamaged && p.sound() {
		w.counters.add(countSnapshotLost, 1)
		w.lose(p)
		p.notesHeld()
	}
}

// mayBeQuarantined: a state machine that was to recover from a snapshot which was damaged between its arrival and then is out of service until its
// replica is started anew.
func (w *World) mayBeQuarantined(h *host, e engine.Event) bool {
	p := h.places[e.ShardID-1]
	damaged := errors.Is(e.Err, snapshot.ErrDamaged) || errors.Is(e.Err, snapshot.ErrTruncated) || errors.Is(e.Err, snapshot.ErrForeign)
	if p == nil || !damaged || !h.snapshots.isFlipped(p) {
		return false
	}
	life := h.life
	w.after(int64(500*time.Millisecond), func() { h.kill(life) })
	return true
}
