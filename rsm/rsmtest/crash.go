package rsmtest

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// crash ends a machine and returns its place as it is found afterwards, with about kept percent of what was not synced.
func (s *suite) crash(m *replica, place Place, kept int) Place {
	s.Helper()
	if s.RealFiles {
		m.close()
		return place
	}
	files := clone(place.FS, kept, s.random.Uint64())
	m.close()
	return Place{files, place.Dir}
}

func clone(files vfs.FS, kept int, seed uint64) vfs.FS {
	memory := vfs.Root(files).(*vfs.MemFS)
	return memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rand.New(rand.NewPCG(seed, 0))})
}

// goOn opens a machine after a crash, whose log begins at index from, and shows it the whole log.
func (s *suite) goOn(what string, place Place, least, most uint64) {
	s.Helper()
	m := s.open(place)
	opened := m.Opened()
	if opened < least || opened > most {
		s.Fatalf("%s: the machine comes up with index %d, it was synced at %d and shown %d", what, opened, least, most)
	}
	s.expect(what+": it comes up", m, int(opened))
	if err := m.StartAt(least, term, raftpb.ConfigRecord{}); err != nil {
		s.Fatalf("%s: start: %v", what, err)
	}
	m.applyRuns(s.commands[least:])
	s.expect(what+": it is shown the log again", m, len(s.commands))
	m.close()
}

// A machine that was closed, at whatever index, and is opened again is what it says that it is: the state after the index that Open returns, which
// is at or above that of the last Sync. A machine that comes up with other data than it says has entries applied to it twice, or lacks some.
func testReopen(s *suite) {
	for n := 0; n <= len(s.commands); n += 1 + n/8 {
		place := s.place()
		m := s.open(place)
		m.applyRuns(s.commands[:n])
		least := uint64(0)
		if n%2 == 0 {
			m.sync()
			least = uint64(n)
		}
		m.close()
		s.goOn("after a close", place, least, uint64(n))
	}
}

// point is a moment at which power was lost.
type point struct {
	files       vfs.FS
	least, most uint64
}

// watched is a file system that takes its picture at some of the operations on it.
type watched struct {
	vfs.FS
	synced, shown atomic.Uint64
	every         int

	mu     sync.Mutex
	count  int
	random *rand.Rand
	points []point
}

func watch(s *suite, files vfs.FS, every int) *watched {
	w := &watched{every: every, random: rand.New(rand.NewPCG(s.random.Uint64(), 0))}
	w.FS = errorfs.Wrap(files, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			w.look(files)
		}
		return nil
	}))
	return w
}

// look takes a picture. What is synced is read before it and what is shown after it, so that what it must and may hold is known.
func (w *watched) look(files vfs.FS) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count++; w.count%w.every != 0 {
		return
	}
	least := w.synced.Load()
	picture := clone(files, []int{0, 50, 100}[w.random.IntN(3)], w.random.Uint64())
	w.points = append(w.points, point{picture, least, w.shown.Load()})
}

// The same for a loss of power at any moment, within Updates and Syncs too, that keeps some of what was not synced.
func testCrashAnywhere(s *suite) {
	if s.RealFiles {
		s.Skip("it needs a file system that can crash")
	}
	place := s.place()
	files := watch(s, place.FS, 3)
	m := s.open(Place{files, place.Dir})
	for n := 0; n < len(s.commands); {
		run := min(1+s.random.IntN(8), len(s.commands)-n)
		files.shown.Store(uint64(n + run))
		m.apply(s.commands[n : n+run])
		n += run
		if s.random.IntN(3) == 0 {
			m.sync()
			files.synced.Store(uint64(n))
		}
		files.look(place.FS)
	}
	m.close()
	files.mu.Lock()
	points := files.points
	files.mu.Unlock()
	for _, p := range points {
		s.goOn("after a loss of power", Place{p.files, place.Dir}, p.least, p.most)
	}
}

// A recovery that was interrupted by a loss of power is made again, from the same snapshot, whatever is found. And once it was synced it is there.
func testCrashWhileRecovering(s *suite) {
	if s.RealFiles {
		s.Skip("it needs a file system that can crash")
	}
	half := len(s.commands) / 2
	source := s.open(s.place())
	source.applyRuns(s.commands[:half])
	file := source.snapshot()

	place := s.place()
	m := s.open(place)
	m.applyRuns(s.commands[:7])
	m.sync()
	place = s.crash(m, place, 0)
	files := watch(s, place.FS, 1)
	m = s.open(Place{files, place.Dir})
	m.mustRecover(file)
	m.sync()
	after := clone(place.FS, 0, 1)
	m.close()
	s.goOn("a recovery that was synced", Place{after, place.Dir}, uint64(half), uint64(half))
	files.mu.Lock()
	points := files.points
	files.mu.Unlock()
	for i := 0; i < len(points); i += 1 + len(points)/60 {
		m := s.open(Place{points[i].files, place.Dir})
		m.mustRecover(file)
		s.expect("a recovery after one that was interrupted", m, half)
		m.applyRuns(s.commands[half:])
		s.expect("what follows a recovery after one that was interrupted", m, len(s.commands))
		m.close()
	}
}
