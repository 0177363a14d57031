package seglog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
)

// laneDirectories are those of the lanes in tests that cut the power or let calls fail: each on a device of its own.
var laneDirectories = []string{"log", "b", "c"}

// laneRun runs a history on recorded lanes. Two changes at a time go into one Commit.
type laneRun struct {
	t        *testing.T
	h        *history
	lane     []int // of each replica of the history
	recorder *recorder
	begun    int
	durable  []int   // by lane: all of its changes up to there were done and had to be synced
	notes    [][]int // what durable was; an event's field of that name is a position here
	failed   bool    // a Commit was
	now      time.Duration
}

func newLaneRun(t *testing.T, h *history) *laneRun {
	r := &laneRun{t: t, h: h, durable: make([]int, len(laneDirectories)), notes: [][]int{make([]int, len(laneDirectories))}}
	r.recorder = newRecorder(func() (int, int) { return r.begun, len(r.notes) - 1 })
	spread := &Lanes{stores: make([]*Store, len(laneDirectories)), places: map[logdb.ReplicaKey]int{}}
	for _, key := range h.keys {
		r.lane = append(r.lane, spread.laneOf(key))
	}
	for lane := range laneDirectories {
		if !slices.Contains(r.lane, lane) {
			t.Fatalf("no replica is in lane %d", lane)
		}
	}
	return r
}

func (r *laneRun) open(fs vfs.FS) (*Lanes, error) {
	return OpenLanes(manualLanes(fs, laneDirectories[1:]...))
}

// work does the changes from one on to before another. Once a Commit has failed, all that follow must.
func (r *laneRun) work(l *Lanes, from, to int) {
	for i := from; i < to; i += 2 {
		pair := r.h.changes[i:min(to, i+2)]
		groups := make([]logdb.Group, len(pair))
		for j, change := range pair {
			groups[j] = l.NewGroup()
			if err := change.fill(groups[j]); err != nil {
				r.t.Fatal(err)
			}
		}
		r.begun = i + len(pair)
		calls := 0
		l.Commit(groups, func(err error) {
			calls++
			r.done(i, pair, err)
		})
		for turn := 0; turn < 3 || calls == 0; turn++ {
			if turn > 100 {
				r.t.Fatalf("Commit %d does not complete", i)
			}
			r.now += 10 * time.Microsecond
			if i%8 == 6 {
				r.now += time.Millisecond // markers, and old segments are emptied
			}
			l.RunOnce(r.now)
		}
		if calls != 1 {
			r.t.Fatalf("done of Commit %d was called %d times", i, calls)
		}
		if r.failed && i+6 < to {
			to = i + 6 // a few more, to see that they fail too
		}
	}
}

func (r *laneRun) done(i int, pair []change, err error) {
	switch {
	case err != nil && !errors.Is(err, logdb.ErrFailed):
		r.t.Fatalf("commit %d: %v, want ErrFailed", i, err)
	case err == nil && r.failed:
		r.t.Fatalf("commit %d is done after one had failed", i)
	case err != nil:
		r.failed = true
		return
	}
	for j, change := range pair {
		if change.mustSync {
			r.durable[r.lane[slices.Index(r.h.keys, change.key)]] = i + j + 1
		}
	}
	r.notes = append(r.notes, slices.Clone(r.durable))
}

// check makes sure that each lane holds the first so many of the changes, from what was durable on to what was begun.
func (r *laneRun) check(l *Lanes, durable []int, begun int, where string) {
	got := make([]string, len(r.h.keys))
	for i, key := range r.h.keys {
		var err error
		if got[i], err = fingerprintOne(l, key); err != nil {
			r.t.Fatalf("%s: %v in lane %d: %v", where, key, r.lane[i], err)
		}
	}
	for lane := range laneDirectories {
		is := func(state []string) bool {
			for i := range got {
				if r.lane[i] == lane && got[i] != state[i] {
					return false
				}
			}
			return true
		}
		if !slices.ContainsFunc(r.h.states[durable[lane]:begun+1], is) {
			r.t.Fatalf("%s: lane %d holds none of its states between %d and %d", where, lane, durable[lane], begun)
		}
	}
}

// examine opens an image and checks it.
func (r *laneRun) examine(image vfs.FS, durable []int, begun int, where string) {
	l, err := r.open(image)
	if err != nil {
		r.t.Fatalf("%s: open: %v", where, err)
	}
	r.check(l, durable, begun, where)
	if err := l.Close(); err != nil {
		r.t.Fatalf("%s: close: %v", where, err)
	}
}

// laneEvents are the events of one lane's device.
func laneEvents(events []event, directory string) (of []event) {
	files := map[int]bool{}
	for _, e := range events {
		switch {
		case e.what == "link" && path.Dir(e.to) == directory:
			files[e.file] = true
		case e.what == "rename" || e.what == "remove":
			if path.Dir(e.from) != directory {
				continue
			}
		case e.file == 0: // a sync of a directory
			if e.to != directory {
				continue
			}
		case !files[e.file]:
			continue
		}
		of = append(of, e)
	}
	return of
}

// cutLanes builds what a power cut after some events leaves on the devices: what keep says of the unsynced writes of each lane, and some of its
// unsynced names.
func cutLanes(t *testing.T, events []event, random *rand.Rand, keep func(lane, i int) bool) *vfs.MemFS {
	t.Helper()
	image := vfs.NewMem()
	for lane, directory := range laneDirectories {
		of := laneEvents(events, directory)
		names := 0
		for _, e := range of {
			switch e.what {
			case "sync":
				if e.file == 0 {
					names = 0
				}
			case "link", "rename", "remove":
				names++
			}
		}
		device := cutImage(t, of, func(i int) bool { return keep(lane, i) }, random.IntN(names+1))
		if err := errors.Join(image.MkdirAll(directory, 0o755), device.MkdirAll(directory, 0o755)); err != nil {
			t.Fatal(err)
		}
		list, err := device.List(directory)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range list {
			writeFile(t, image, path.Join(directory, name), readFile(t, device, path.Join(directory, name)))
		}
	}
	return image
}

// laneCuts calls visit with ways in which what the lanes' devices have written may differ when the power goes: all or nothing, in one lane and
// not in the others, and some of each.
func laneCuts(random *rand.Rand, visit func(name string, keep func(lane, i int) bool)) {
	lanes := len(laneDirectories)
	for mask := range 1 << lanes {
		visit(fmt.Sprintf("all of lanes %0*b", lanes, mask), func(lane, _ int) bool { return mask>>lane&1 == 1 })
	}
	bits := [3]uint64{random.Uint64(), random.Uint64(), random.Uint64()}
	visit(fmt.Sprintf("bits %x", bits), func(lane, i int) bool { return bits[lane]>>(i%64)&1 == 1 })
}

// TestCutsOfLanes cuts the power of a host with a lane on each of three devices after some of all syncs, writes and changes of a name, other ones with each seed, so that
// the devices differ in what they have of what was not synced. Each lane holds a prefix of what was committed to it, with all that was
// acknowledged, and lanes that were cut while the store was made or opened open again.
func TestCutsOfLanes(t *testing.T) {
	points := 0
	for seed := range uint64(share(2, 1)) {
		w := newWorkload(seed, 8, 3000)
		r := newLaneRun(t, draw(t, w, share(90, 60)))
		for half := range 2 {
			l, err := r.open(r.recorder)
			if err != nil {
				t.Fatal(err)
			}
			n := len(r.h.changes) / 2
			r.work(l, half*n, half*n+n)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		points += r.enumerate(rand.New(rand.NewPCG(seed, 13)))
		if !slices.ContainsFunc(r.recorder.events, func(e event) bool { return e.what == "rename" && strings.HasSuffix(e.to, spareSuffix) }) {
			t.Errorf("seed %d: no segment was emptied", seed)
		}
	}
	t.Logf("%d points", points)
	if points < share(500, 40) {
		t.Errorf("only %d points", points)
	}
}

func (r *laneRun) enumerate(random *rand.Rand) (points int) {
	events := r.recorder.events
	for n := 1; n <= len(events); n++ {
		e := events[n-1]
		if e.what == "write" && n%5 != 0 || random.IntN(share(8, 30)) != 0 {
			continue
		}
		durable, begun := r.notes[e.durable], e.begun
		if n < len(events) {
			durable, begun = r.notes[events[n].durable], max(begun, events[n].begun)
		}
		laneCuts(random, func(name string, keep func(lane, i int) bool) {
			points++
			where := fmt.Sprintf("after event %d (%s of file %d %s %s), %s kept", n, e.what, e.file, e.from, e.to, name)
			r.examine(cutLanes(r.t, events[:n], random, keep), durable, begun, where)
		})
	}
	return points
}
