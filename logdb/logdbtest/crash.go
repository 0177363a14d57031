package logdbtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
)

// CrashOptions are the options of a crash run.
type CrashOptions struct {
	// Seed decides the workload, where the power is cut and what is left of unsynced data.
	Seed uint64
	// Commits is the length of the workload, 0 for 60.
	Commits int
	// IgnoreSyncs makes every sync do nothing. Such a run must end with an error.
	IgnoreSyncs bool
}

// RunCrash runs Crash with a few seeds, with one if tests are short, and once with syncs that do nothing, which must be noticed. open opens the
// store in directory "log" of a file system.
func RunCrash(t *testing.T, open func(fs vfs.FS) (logdb.LogDB, error)) {
	seeds := uint64(3)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			points, err := Crash(open, CrashOptions{Seed: seed})
			if err != nil {
				t.Fatal(err)
			}
			if points < 30 {
				t.Fatalf("only %d points were tried", points)
			}
		})
	}
	t.Run("WithoutSyncs", func(t *testing.T) {
		if _, err := Crash(open, CrashOptions{IgnoreSyncs: true}); err == nil {
			t.Fatal("a store whose syncs do nothing lost nothing: the run proves nothing")
		}
	})
}

// Crash runs a workload and cuts the power before or after every sync that the store makes, its opening and closing included.
// What is left then holds all that was synced and a random part of the rest; it is opened as a store, and must hold
// the first n commits of the workload, whole, and nothing else: n is at least the number of commits that were known durable
// and at most the number that were begun. It returns the number of points and the first contradiction.
func Crash(open func(fs vfs.FS) (logdb.LogDB, error), options CrashOptions) (points int, err error) {
	if options.Commits == 0 {
		options.Commits = 60
	}
	run := &crashRun{
		open:    open,
		options: options,
		memory:  vfs.NewCrashableMem(),
		random:  rand.New(rand.NewPCG(options.Seed, 2)),
	}
	w := newWorkload(options.Seed, 6, 10)
	run.keys = w.keys()
	if err := run.draw(w); err != nil {
		return 0, err
	}
	if err := run.work(); err != nil {
		return run.points, err
	}
	return run.points, run.failure
}

// crashRun is a run of Crash.
type crashRun struct {
	open    func(fs vfs.FS) (logdb.LogDB, error)
	options CrashOptions
	memory  *vfs.MemFS
	keys    []logdb.ReplicaKey
	plans   []plan
	// states[n] is the fingerprint of a store that holds the first n commits.
	states []string

	mu      sync.Mutex
	begun   int // commits handed to the store
	durable int // commits that are known durable: all up to the last one that was done and had to be synced

	// cutting serializes the points: the store may sync several files at a time.
	cutting sync.Mutex
	random  *rand.Rand
	points  int
	failure error
}

// draw draws the workload and computes the state after each commit with the model.
func (r *crashRun) draw(w *workload) error {
	model := modellog.New(modellog.Options{Automatic: true})
	for i := range r.options.Commits + 1 {
		state, err := fingerprint(model, r.keys)
		if err != nil {
			return err
		}
		r.states = append(r.states, state)
		if i == r.options.Commits {
			return nil
		}
		p := w.next()
		r.plans = append(r.plans, p)
		groups, err := p.fill(model)
		if err != nil {
			return err
		}
		model.Commit(groups, func(error) {})
	}
	return nil
}

// work runs the workload. Up to four commits are under way at a time.
func (r *crashRun) work() error {
	db, err := r.open(&crashFS{FS: r.memory, run: r})
	if err != nil {
		return err
	}
	results := make(chan error, len(r.plans))
	underway := 0
	var failed error
	for i := range r.plans {
		groups, err := r.plans[i].fill(db)
		if err != nil {
			return errors.Join(err, db.Close())
		}
		r.mu.Lock()
		r.begun = i + 1
		r.mu.Unlock()
		db.Commit(groups, func(err error) {
			if err == nil && r.plans[i].mustSync {
				r.mu.Lock()
				r.durable = i + 1
				r.mu.Unlock()
			}
			results <- err
		})
		for underway++; underway >= 1+i%4; underway-- {
			failed = errors.Join(failed, <-results)
		}
	}
	for ; underway > 0; underway-- {
		failed = errors.Join(failed, <-results)
	}
	return errors.Join(failed, db.Close())
}

// cut cuts the power here and looks at what is left. The store's sync waits meanwhile; commits may go on.
func (r *crashRun) cut(where string) {
	r.cutting.Lock()
	defer r.cutting.Unlock()
	if r.failure != nil {
		return
	}
	r.points++
	r.mu.Lock()
	atLeast := r.durable // read before the cut
	r.mu.Unlock()
	percent := []int{0, 10, 50, 90, 100}[r.random.IntN(5)]
	left := r.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r.random})
	r.mu.Lock()
	atMost := r.begun // read after it
	r.mu.Unlock()
	if err := r.examine(left, atLeast, atMost); err != nil {
		r.failure = fmt.Errorf("seed %d: point %d (%s, %d%% of unsynced data kept): %w",
			r.options.Seed, r.points, where, percent, err)
	}
}

func (r *crashRun) examine(left vfs.FS, atLeast, atMost int) error {
	db, err := r.open(left)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	got, err := fingerprint(db, r.keys)
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	for n := atLeast; n <= atMost; n++ {
		if r.states[n] == got {
			return nil
		}
	}
	for n, state := range r.states {
		if state == got {
			return fmt.Errorf("the first %d commits are there, want between %d and %d", n, atLeast, atMost)
		}
	}
	return fmt.Errorf("what is there is no prefix of the commits, of which between %d and %d should be there:\n%s",
		atLeast, atMost, got)
}

// crashFS calls cut around every sync.
type crashFS struct {
	vfs.FS
	run *crashRun
}

func (f *crashFS) wrap(name string, file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &crashFile{File: file, name: name, run: f.run}, nil
}

func (f *crashFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	return f.wrap(name, file, err)
}

func (f *crashFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(oldname, newname, category)
	return f.wrap(newname, file, err)
}

func (f *crashFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	return f.wrap(name, file, err)
}

func (f *crashFS) OpenReadWrite(
	name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption,
) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, category, options...)
	return f.wrap(name, file, err)
}

func (f *crashFS) Unwrap() vfs.FS { return f.FS }

// crashFile calls cut before or after each sync of its file.
type crashFile struct {
	vfs.File
	name string
	run  *crashRun
}

func (f *crashFile) around(sync func() error) error {
	f.run.cut("before the sync of " + f.name)
	if !f.run.options.IgnoreSyncs {
		if err := sync(); err != nil {
			return err
		}
	}
	f.run.cut("after the sync of " + f.name)
	return nil
}

func (f *crashFile) Sync() error { return f.around(f.File.Sync) }

func (f *crashFile) SyncData() error { return f.around(f.File.SyncData) }

func (f *crashFile) SyncTo(length int64) (full bool, err error) {
	err = f.around(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}
