package seglog

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
)

// subject is a store of the metamorphic test, on a file system that can lose its power.
type subject struct {
	name   string
	memory *vfs.MemFS
	open   func(fs vfs.FS) (logdb.LogDB, error)
	db     logdb.LogDB
	// lanes says that a power cut may leave what one replica had and not what another had: each is compared for itself.
	lanes bool
	// least is how many commits it must have, known durable; with lanes, leastOf says it of each replica.
	least   int
	leastOf map[logdb.ReplicaKey]int
}

func subjects() []*subject {
	return []*subject{
		{name: "seglog", open: func(fs vfs.FS) (logdb.LogDB, error) {
			return Open(Options{FS: fs, Dir: "log", SegmentBytes: MinSegmentBytes, IdleDelay: time.Millisecond})
		}},
		{name: "lanes", lanes: true, open: func(fs vfs.FS) (logdb.LogDB, error) {
			return OpenLanes(Options{FS: fs, Dir: "log", Directories: []string{"second", "third"}, SegmentBytes: MinSegmentBytes, IdleDelay: time.Millisecond})
		}},
		{name: "seglog manual", open: func(fs vfs.FS) (logdb.LogDB, error) { return Open(manual(fs)) }},
		{name: "pebble", open: func(fs vfs.FS) (logdb.LogDB, error) {
			return pebblelog.Open(pebblelog.Options{FS: fs, Dir: "log", MemtableBytes: pebblelog.MinMemtableBytes})
		}},
	}
}

// TestMetamorphic drives all stores and the model with one random sequence of Commits, restarts and power cuts, and compares what they hold.
// After a power cut each store may have kept a different number of the Commits that nobody waited for; the sequence then begins anew from an
// empty directory for all, since what comes next depends on what was kept.
func TestMetamorphic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorkload(rapid.Uint64().Draw(rt, "seed"), rapid.IntRange(1, 5).Draw(rt, "replicas"), rapid.SampledFrom([]int{20, 500, 9000}).Draw(rt, "size"))
		h := &history{}
		model := h.begin(t, w.keys())
		list := subjects()
		for _, s := range list {
			s.memory = vfs.NewCrashableMem()
			s.reopen(t, s.memory)
		}
		defer func() {
			for _, s := range list {
				_ = s.db.Close()
			}
		}()
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{"commit", "commit", "commit", "commit", "commit", "compare", "restart"}), 1, 40).Draw(rt, "steps")
		for _, step := range steps {
			switch step {
			case "commit":
				h.add(t, model, w.next())
				for _, s := range list {
					s.commit(t, h)
				}
			case "restart":
				for _, s := range list {
					if err := s.db.Close(); err != nil {
						t.Fatalf("%s: close: %v", s.name, err)
					}
					s.reopen(t, s.memory)
				}
			}
			for _, s := range list {
				if got := fingerprint(t, s.db, h.keys); !slices.Equal(got, h.states[len(h.states)-1]) {
					t.Fatalf("%s holds after %d commits\n%.2000q\nthe model\n%.2000q", s.name, len(h.changes), got, h.states[len(h.states)-1])
				}
			}
		}
		percent := rapid.SampledFrom([]int{0, 30, 100}).Draw(rt, "kept")
		for _, s := range list {
			s.cut(t, h, percent, rapid.Uint64().Draw(rt, "cut"))
		}
	})
}

func (s *subject) reopen(t *testing.T, fs vfs.FS) {
	t.Helper()
	db, err := s.open(fs)
	if err != nil {
		t.Fatalf("%s: open: %v", s.name, err)
	}
	s.db = db
}

// commit does the newest change of a history.
func (s *subject) commit(t *testing.T, h *history) {
	t.Helper()
	done := make(chan error, 1)
	c := h.changes[len(h.changes)-1]
	commit(t, s.db, c, func(err error) { done <- err })
	if m, ok := s.db.(*Store); ok && m.options.Manual {
		m.RunOnce(0)
	}
	if err := <-done; err != nil {
		t.Fatalf("%s: commit: %v", s.name, err)
	}
	if !c.mustSync {
		return
	}
	s.least = len(h.changes)
	if s.leastOf == nil {
		s.leastOf = map[logdb.ReplicaKey]int{}
	}
	s.leastOf[c.key] = s.least
}

// cut cuts the power and looks at what is left.
func (s *subject) cut(t *testing.T, h *history, percent int, seed uint64) {
	t.Helper()
	left := s.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, 1))})
	db, err := s.open(left)
	if err != nil {
		t.Fatalf("%s: open after a power cut: %v", s.name, err)
	}
	defer db.Close()
	got := fingerprint(t, db, h.keys)
	if s.lanes {
		for i, key := range h.keys {
			if !slices.ContainsFunc(h.states[s.leastOf[key]:], func(state []string) bool { return state[i] == got[i] }) {
				t.Fatalf("%s: after a power cut %v holds none of what it held behind %d of %d commits", s.name, key, s.leastOf[key], len(h.changes))
			}
		}
		return
	}
	if !slices.ContainsFunc(h.states[s.least:], func(state []string) bool { return slices.Equal(state, got) }) {
		t.Fatalf("%s: after a power cut there is none of the states behind %d of %d commits", s.name, s.least, len(h.changes))
	}
}
