package simulation

import (
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/internal/overlayfs"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// snapshotDirectory is where a host keeps the snapshots of its state machines, in files of their own.
const snapshotDirectory = "snapshots"

// snapshotPlan is what a seed draws for snapshots; the zero value is a run without.
type snapshotPlan struct {
	every    uint64 // entries between two snapshots
	keep     int64  // entries that are kept in the log behind one
	retain   int
	compress bool
	padding  int   // bytes beside what a state machine holds
	chunk    int   // bytes that travel at once, twice as many without an answer
	rate     int64 // bytes of one stream in a second, 0 for no limit
}

func (p *snapshotPlan) policy() engine.SnapshotPolicy {
	return engine.SnapshotPolicy{
		Entries: p.every, KeepEntries: p.keep, Retain: p.retain, Compress: p.compress,
		SyncInterval: time.Duration(p.every) * 50 * time.Millisecond, // 0.5 s to 15 s: a shard that is written to more often is synced by entries
	}
}

// drawSnapshots draws small intervals, so that a follower that was cut off for a second finds the log compacted.
func drawSnapshots(r *random, o *Options) snapshotPlan {
	wanted := o.Profile == "snapshots" || o.Profile == "sessions" || o.Profile == "operator" || o.Profile == "everything" && r.chance(0.5)
	p := snapshotPlan{
		every: pick(r, []uint64{10, 30, 100, 300}), keep: pick(r, []int64{-1, 3, 20, 100}), retain: 1 + r.below(3), compress: r.chance(0.3),
		padding: pick(r, []int{0, 2000, 20_000}), chunk: pick(r, []int{256, 2048, 64 << 10}), rate: pick(r, []int64{0, 0, 20_000, 100_000}),
	}
	if !wanted || o.Machine != nil { // a machine of the user's own is not known to be one that can be saved
		return snapshotPlan{}
	}
	return p
}

// snapshotFiles are the files of a host's snapshots: they outlive its process, but for what was not synced.
type snapshotFiles struct {
	memory *vfs.MemFS
	files  *files // of the present life
	// directory is that of the present life.
	directory *snapshot.Directory
	flipped   []snapshot.Name
	failed    uint64 // calls, in former lives
}

func newSnapshotFiles() *snapshotFiles { return &snapshotFiles{memory: vfs.NewCrashableMem()} }

// open begins a life.
func (f *snapshotFiles) open(r *random) (*snapshot.Directory, error) {
	if err := errors.Join(f.memory.MkdirAll(hostDirectory, 0o700), syncDirectory(f.memory, "")); err != nil {
		return nil, err
	}
	f.files = newFiles(f.memory, r.fork())
	f.files.directories, f.files.repeatable = []string{snapshotDirectory, hostDirectory}, true
	directory, err := snapshot.OpenDirectory(f.files, snapshotDirectory)
	f.directory = directory
	return directory, err
}

// openDirectories begins a life of the files of snapshots and state machines, as far as the run has some.
func (h *host) openDirectories() (directory *snapshot.Directory, err error) {
	if h.world.plan.snapshots.every > 0 {
		if directory, err = h.snapshots.open(&h.random); err != nil {
			return nil, err
		}
	}
	if h.world.plan.anyOnDisk() {
		err = h.machines.begin(&h.random)
	}
	return directory, err
}

// crash ends it: what is there afterwards is what was synced and some of the rest.
func (f *snapshotFiles) crash() {
	if f.files != nil {
		f.failed = f.failures()
		f.memory, _ = f.files.cut()
		f.files = nil
	}
}

// reached says whether a replica's state can be had from its log and the snapshots that are left of it. They are removed in front of the log.
func (p *place) reached() bool {
	if p.host.world.plan.snapshots.every == 0 || p.witness() {
		return true
	}
	stored, err := p.host.disk.Load(keyOf(p))
	if err != nil || stored.Installing == nil && (stored.Compacted == 0 || p.shard.machineKind.onDisk()) {
		return err == nil
	}
	return slices.ContainsFunc(p.host.snapshots.list(p), func(name snapshot.Name) bool {
		return name.Index >= stored.Compacted && (stored.Installing == nil || name.Index == stored.Installing.Index) &&
			p.host.snapshots.serves(name, p.host.disk.durable[keyOf(p)])
	})
}

// serves says that a snapshot is whole, and one of what is in a log.
func (f *snapshotFiles) serves(name snapshot.Name, log *mirror) bool {
	directory, err := snapshot.OpenDirectory(overlayfs.New(f.memory), snapshotDirectory)
	if err != nil {
		return false
	}
	data, err := readWhole(f.memory, directory.Path(name))
	if err != nil {
		return false
	}
	check := snapshot.NewCheck()
	_, err = check.Write(data)
	summary, short := check.Close()
	return err == nil && short == nil && summary.Meta.Index == name.Index && log != nil && log.holds(name.Index, summary.Meta.Term)
}

// keep notes that the removal of a replica's data went no further than its snapshots: its log was not touched. Those that are gone may come back, since
// their removal is not durable: so what was lost is judged again when the power goes.
func (p *place) keep(log *mirror) {
	p.host.disk.memory[keyOf(p)] = log
	if p.removing && p.reached() {
		p.lost, p.removing = false, false
	}
}

// coroutine is a worker that calls a user's code, on its way: it goes on when the world says so, after each read and write of a snapshot.
type coroutine struct {
	next     func() (struct{}, bool)
	stop     func()
	yield    func(struct{}) bool
	deadline raft.Instant
	over     bool
}

// resume runs a worker that calls user's code until it reads or writes the next piece, or ends. It reports whether it has ended.
func (h *host) resume(s *slot, now raft.Instant) (ended bool) {
	if s.routine == nil {
		routine := &coroutine{}
		worker := s.worker
		routine.next, routine.stop = iter.Pull(func(yield func(struct{}) bool) {
			routine.yield = yield
			routine.deadline = worker.RunOnce(now)
		})
		s.routine = routine
	}
	routine := s.routine
	before := h.running
	h.running = routine
	_, more := routine.next()
	h.running = before
	if more {
		return false
	}
	s.deadline, s.routine = routine.deadline, nil
	return true
}

// hand is engine.Options.Yield: whatever runs lets the others have a turn, as far as it is a coroutine. False says that its process is gone.
func (h *host) hand() (going bool) {
	routine := h.running
	if routine != nil && !routine.over {
		routine.over = !routine.yield(struct{}{})
	}
	return routine == nil || !routine.over
}

// endRoutines lets what is on its way run to its end, where nobody sees it any more: its process is gone, and its files are another life's.
func (h *host) endRoutines() {
	for i := range h.slots {
		if routine := h.slots[i].routine; routine != nil {
			h.slots[i].routine = nil
			before := h.running
			h.running = routine
			routine.stop()
			h.running = before
		}
	}
}
