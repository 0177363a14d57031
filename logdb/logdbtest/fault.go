package logdbtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/flotilla-raft/flotilla/logdb"
)

// errInjected is what a disk says that fails once and works again: the most treacherous one.
var errInjected = errors.New("logdbtest: injected failure")

// RunFaults lets single mutations of the file system fail, one in each run of a workload, with an error of the device or a full disk in turns:
// about thirty, ten if tests are short, spread evenly over all that the store makes. open is as in RunCrash.
func RunFaults(t *testing.T, open func(fs vfs.FS) (logdb.LogDB, error)) {
	tries := int64(30)
	if testing.Short() {
		tries = 10
	}
	total, err := Fault(open, 1, -1, nil)
	if err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	full := false
	for operation := int64(0); operation < total; operation += max(1, total/tries) {
		kind := syscall.EIO
		if full = !full; full {
			kind = syscall.ENOSPC
		}
		if _, err := Fault(open, 1, operation, kind); err != nil {
			t.Fatalf("operation %d of %d, %v: %v", operation, total, kind, err)
		}
	}
}

// Fault runs a workload while the mutation of the file system with the given number, counted from 0, fails once with an error of that kind; a
// negative number stands for none. It returns how many mutations there were.
//
// From the failure on every commit must end with logdb.ErrFailed, unless it was a mutation that does not matter; the
// store must close, and when it is opened anew, on the disk as the process left it, it must hold the first n commits whole,
// among them all that were done and synced. Nothing may panic.
func Fault(open func(fs vfs.FS) (logdb.LogDB, error), seed uint64, operation int64, kind error) (total int64, err error) {
	memory := vfs.NewCrashableMem()
	var count atomic.Int64
	fs := errorfs.Wrap(memory, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !mutates(op.Kind) || count.Add(1)-1 != operation {
			return nil
		}
		return fmt.Errorf("%w: operation %d, kind %d, of %s: %w", errInjected, operation, op.Kind, op.Path, kind)
	}))
	run := &crashRun{open: open, options: CrashOptions{Seed: seed, Commits: 50}, memory: memory}
	w := newWorkload(seed, 6, 8)
	run.keys = w.keys()
	if err := run.draw(w); err != nil {
		return 0, err
	}
	if err := run.workUntilFailure(fs); err != nil {
		return count.Load(), err
	}
	// A clone, since a store that failed may hold its directory's lock for as long as the process lives.
	left := memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))})
	return count.Load(), run.examine(left, run.durable, run.begun)
}

func mutates(kind errorfs.OpKind) bool {
	switch kind {
	case errorfs.OpCreate, errorfs.OpLink, errorfs.OpRemove, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpMkdirAll,
		errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo,
		errorfs.OpFileClose:
		return true
	default:
		return false
	}
}

// workUntilFailure commits one write after another. Once one has failed, all others must.
func (r *crashRun) workUntilFailure(fs vfs.FS) error {
	db, err := r.open(fs)
	if err != nil {
		if errors.Is(err, errInjected) {
			return nil
		}
		return fmt.Errorf("open: %w", err)
	}
	failed := false
	for i := range r.plans {
		groups, err := r.plans[i].fill(db)
		if err != nil {
			return errors.Join(err, db.Close())
		}
		r.begun = i + 1
		result := make(chan error, 1)
		db.Commit(groups, func(err error) { result <- err })
		err = <-result
		switch {
		case err != nil && !errors.Is(err, logdb.ErrFailed):
			return errors.Join(fmt.Errorf("commit %d: error %w, want ErrFailed", i, err), db.Close())
		case err == nil && failed:
			return errors.Join(fmt.Errorf("commit %d is done, after one had failed", i), db.Close())
		case err == nil && r.plans[i].mustSync:
			r.durable = i + 1
		}
		failed = failed || err != nil
	}
	if err := db.Close(); err != nil && !failed && !errors.Is(err, errInjected) && !errors.Is(err, logdb.ErrFailed) {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
