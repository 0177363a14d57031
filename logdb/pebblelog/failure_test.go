package pebblelog

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
)

var errDisk = errors.New("the disk failed")

// failing returns a file system whose operations fail while the function says so.
func failing(inner vfs.FS, fails func(errorfs.Op) bool) vfs.FS {
	return errorfs.Wrap(inner, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fails(op) {
			return errDisk
		}
		return nil
	}))
}

func isLogSync(op errorfs.Op) bool {
	return isLog(op.Path) && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData)
}

// TestFatalfLatchesBeforeItReturns: Pebble calls Fatalf where it cannot go on, and expects the process to end. It must not
// end, and nothing must be acknowledged any more once Fatalf has returned (R12).
func TestFatalfLatchesBeforeItReturns(t *testing.T) {
	told := make(chan error, 1)
	s, err := Open(Options{FS: vfs.NewMem(), Dir: "log", OnFailure: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	if err := commit(s, saveOf(damagedKey, logdbtest.Batch(7, 1, 1, 1, 10))); err != nil {
		t.Fatal(err)
	}
	fatal := logger{out: Options{}.withDefaults().Logger, latch: s.latch}
	fatal.Fatalf("manifest %d: %v", 5, errDisk)
	if s.latch.get() == nil {
		t.Fatal("Fatalf returned and nothing is latched")
	}
	for range 2 {
		err := commit(s, saveOf(damagedKey, logdbtest.Batch(7, 1, 2, 1, 10)))
		if !errors.Is(err, logdb.ErrFailed) || !strings.Contains(err.Error(), errDisk.Error()) {
			t.Errorf("commit: error %v, want ErrFailed with the cause", err)
		}
	}
	if err := <-told; !errors.Is(err, logdb.ErrFailed) {
		t.Errorf("OnFailure was told %v", err)
	}
	fatal.Fatalf("a second time")
	if stored, err := s.Load(damagedKey); err != nil || stored.Last != 1 {
		t.Errorf("load: %+v, %v", stored, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if len(told) != 0 {
		t.Error("OnFailure was called twice")
	}
}

// TestManifestFailureLatches lets a real Fatalf happen: the manifest's sync fails while a memtable is flushed.
func TestManifestFailureLatches(t *testing.T) {
	var fail atomic.Bool
	fs := failing(vfs.NewMem(), func(op errorfs.Op) bool {
		return fail.Load() && strings.Contains(op.Path, "MANIFEST") && op.Kind == errorfs.OpFileSync
	})
	told := make(chan error, 1)
	s, err := Open(Options{FS: fs, Dir: "log", MemtableBytes: MinMemtableBytes, OnFailure: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	fail.Store(true)
	var failure error
	for i := uint64(1); failure == nil && i < 1000; i++ {
		failure = commit(s, saveOf(damagedKey, logdbtest.Batch(7, 1, i, 1, 30_000)))
	}
	if !errors.Is(failure, logdb.ErrFailed) || !errors.Is(failure, errDisk) {
		t.Errorf("commit: error %v, want ErrFailed because of %v", failure, errDisk)
	}
	if err := <-told; !errors.Is(err, errDisk) {
		t.Errorf("OnFailure was told %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestSyncThatFailsOnceIsNeverTrusted: the sync after a failed one succeeds and means nothing, since the kernel may have
// dropped the pages that it could not write (R9).
func TestSyncThatFailsOnceIsNeverTrusted(t *testing.T) {
	var left atomic.Int64
	fs := failing(vfs.NewMem(), func(op errorfs.Op) bool { return isLogSync(op) && left.Add(-1) == 0 })
	s := openInMemory(t, fs)
	left.Store(1)
	for i := range 3 {
		err := commit(s, saveOf(damagedKey, logdbtest.Batch(7, 1, 1, 1, 10)))
		if !errors.Is(err, logdb.ErrFailed) || !errors.Is(err, errDisk) {
			t.Errorf("commit %d: error %v, want ErrFailed because of %v", i, err, errDisk)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestUnsyncedWriteIsNotAcknowledgedAfterFailure: writes without a sync end with the failure, too.
func TestUnsyncedWriteIsNotAcknowledgedAfterFailure(t *testing.T) {
	var fail atomic.Bool
	s := openInMemory(t, failing(vfs.NewMem(), func(op errorfs.Op) bool { return fail.Load() && isLogSync(op) }))
	fail.Store(true)
	if err := commit(s, saveOf(damagedKey, logdbtest.Batch(7, 1, 1, 1, 10))); !errors.Is(err, logdb.ErrFailed) {
		t.Errorf("commit: %v", err)
	}
	unsynced := saveOf(damagedKey)
	unsynced.StateChanged, unsynced.MustSync = true, false
	if err := commit(s, unsynced); !errors.Is(err, logdb.ErrFailed) {
		t.Errorf("commit without a sync: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestOpenGivesUp: a disk that fails for good while the store is opened makes Open return an error, not hang.
func TestOpenGivesUp(t *testing.T) {
	memory := vfs.NewCrashableMem()
	s := openInMemory(t, memory)
	for i := uint64(1); i < 20; i++ {
		if err := commit(s, saveOf(damagedKey, logdbtest.Batch(7, 1, i, 1, 10_000))); err != nil {
			t.Fatal(err)
		}
	}
	left := memory.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fs := failing(left, func(op errorfs.Op) bool {
		return strings.HasSuffix(op.Path, ".sst") && op.Kind == errorfs.OpFileWrite
	})
	_, err := Open(Options{FS: fs, Dir: "log", MemtableBytes: MinMemtableBytes})
	if !errors.Is(err, logdb.ErrFailed) || !errors.Is(err, errDisk) {
		t.Errorf("open: error %v, want ErrFailed because of %v", err, errDisk)
	}
}

// TestNoSyncForCommitIndex: a mere change of the commit index costs no sync.
func TestNoSyncForCommitIndex(t *testing.T) {
	s := openInMemory(t, vfs.NewMem())
	defer func() { _ = s.Close() }()
	before := s.Counters().FileSyncs
	for i := uint64(1); i <= 100; i++ {
		save := saveOf(damagedKey)
		save.StateChanged, save.State.Commit, save.MustSync = true, i, false
		if err := commit(s, save); err != nil {
			t.Fatal(err)
		}
	}
	if syncs := s.Counters().FileSyncs - before; syncs != 0 {
		t.Errorf("%d syncs", syncs)
	}
	if err := commit(s, saveOf(damagedKey, logdbtest.Batch(7, 1, 1, 1, 10))); err != nil {
		t.Fatal(err)
	}
	counters := s.Counters()
	if syncs := counters.FileSyncs - before; syncs != 1 || counters.SyncedCommits != 1 || counters.Commits != 101 {
		t.Errorf("%d syncs, counters %+v", syncs, counters)
	}
}

func TestOptionsListEveryFault(t *testing.T) {
	_, err := Open(Options{MemtableBytes: 5})
	if !errors.Is(err, ErrOptions) {
		t.Fatalf("error %v, want ErrOptions", err)
	}
	for _, part := range []string{"Dir is empty", "MemtableBytes is 5"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	if format := pebbleOptions(Options{}.withDefaults(), nil, nil).FormatMajorVersion; format < pebble.FormatWALSyncChunks {
		t.Errorf("format %d does not tell damage in the log from its end", format)
	}
}

// TestLogChangeSurvivesTheDisk lets the change from one log file to the next fail in several ways. Pebble left alone ends the
// process there, with a mutex that is unlocked twice; here the commit ends with ErrFailed and the store closes.
func TestLogChangeSurvivesTheDisk(t *testing.T) {
	steps := map[string]func(errorfs.Op) bool{
		"create":         func(op errorfs.Op) bool { return isLog(op.Path) && op.Kind == errorfs.OpCreate },
		"reuse":          func(op errorfs.Op) bool { return isLog(op.Path) && op.Kind == errorfs.OpReuseForWrite },
		"sync directory": func(op errorfs.Op) bool { return op.Path == "log" && op.Kind == errorfs.OpFileSync },
	}
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			var fail atomic.Bool
			s := openInMemory(t, failing(vfs.NewMem(), func(op errorfs.Op) bool { return fail.Load() && step(op) }))
			fail.Store(true)
			var failure error
			for i := uint64(1); failure == nil && i < 1000; i++ {
				failure = commit(s, saveOf(damagedKey, logdbtest.Batch(7, 1, i, 1, 30_000)))
			}
			if !errors.Is(failure, logdb.ErrFailed) || !errors.Is(failure, errDisk) {
				t.Errorf("commit: error %v, want ErrFailed because of %v", failure, errDisk)
			}
			if s.wedged.Load() {
				t.Error("Pebble panicked")
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
