package pebblelog

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// The tests in this file are about Pebble alone: what this package is built on (R12). When a new version of Pebble fails
// one of them, the design has to be looked at again.

// recordingLogger counts calls of Fatalf and returns.
type recordingLogger struct{ fatal atomic.Int64 }

func (l *recordingLogger) Infof(string, ...any)  {}
func (l *recordingLogger) Errorf(string, ...any) {}
func (l *recordingLogger) Fatalf(string, ...any) { l.fatal.Add(1) }

// openWithFailingSync opens plain Pebble, and makes the syncs of its log fail from then on.
func openWithFailingSync(t *testing.T) (*pebble.DB, *recordingLogger) {
	t.Helper()
	var fail atomic.Bool
	log := &recordingLogger{}
	db, err := pebble.Open("log", &pebble.Options{
		FS:                 failing(vfs.NewMem(), func(op errorfs.Op) bool { return fail.Load() && isLogSync(op) }),
		Logger:             log,
		FormatMajorVersion: pebble.FormatNewest,
	})
	if err != nil {
		t.Fatal(err)
	}
	fail.Store(true)
	return db, log
}

// SyncWait returns the error of a failed sync, and goes on doing so for later writes, until Pebble panics for having a
// failed log.
func TestPebbleSyncWaitReturnsTheError(t *testing.T) {
	db, log := openWithFailingSync(t)
	for i := range 3 {
		batch := db.NewBatch()
		if err := batch.Set([]byte("key"), []byte("value"), nil); err != nil {
			t.Fatal(err)
		}
		if err := db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
		if err := batch.SyncWait(); !errors.Is(err, errDisk) {
			t.Errorf("write %d: SyncWait: error %v, want %v", i, err, errDisk)
		}
	}
	if n := log.fatal.Load(); n != 0 {
		t.Errorf("Fatalf was called %d times", n)
	}
	_ = db.Close() // returns the error again, or not
}

// Apply answers a failed sync by Fatalf, and by nil if that returns: the caller is told that the write is durable.
func TestPebbleApplyDependsOnFatalf(t *testing.T) {
	db, log := openWithFailingSync(t)
	if err := db.Set([]byte("key"), []byte("value"), pebble.Sync); err != nil {
		t.Errorf("Set: %v; Pebble reports the failure by now, and Apply may be thought about", err)
	}
	if n := log.fatal.Load(); n != 1 {
		t.Errorf("Fatalf was called %d times, want 1", n)
	}
	_ = db.Close()
}

// The default format takes damage in the log for its end, wherever it is; so does the newest one in a store's first log.
// Reopened, the newest one refuses.
func TestPebbleNoticesDamageOnlyInLogsOfTheNewFormat(t *testing.T) {
	tests := []struct {
		format   pebble.FormatMajorVersion
		reopened bool
		noticed  bool
	}{
		{pebble.FormatMinSupported, true, false},
		{pebble.FormatNewest, false, false},
		{pebble.FormatNewest, true, true},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%v/reopened=%v", test.format, test.reopened), func(t *testing.T) {
			memory := vfs.NewCrashableMem()
			open := func(fs vfs.FS) (*pebble.DB, error) {
				return pebble.Open("log", &pebble.Options{FS: fs, Logger: &recordingLogger{}, FormatMajorVersion: test.format})
			}
			db, err := open(memory)
			if err == nil && test.reopened {
				if err = db.Close(); err == nil {
					db, err = open(memory)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			for i := range 40 {
				if err := db.Set(fmt.Appendf(nil, "key%d", i), make([]byte, 3000), pebble.Sync); err != nil {
					t.Fatal(err)
				}
			}
			left := memory.CrashClone(vfs.CrashCloneCfg{})
			flipLogBit(t, left, len(readLog(t, left))/2)
			damaged, err := open(left)
			if err == nil {
				_ = damaged.Close()
			}
			if (err != nil) != test.noticed {
				t.Errorf("open: error %v, want one: %v", err, test.noticed)
			}
		})
	}
}

// The chunks of a log say up to where it was synced before them, and that is what damage is told from the log's end by. Pebble
// does not count there what it wrote in whole blocks. So what they say lags behind: by a little for every border of a block
// that a small write crosses, and by all of a large one. Damage among large writes is taken for the end of the log.
//
// The writes here end a little behind the border of a block, and that little is all that is counted of each.
func TestPebbleDoesNotCountWholeBlocksAsSynced(t *testing.T) {
	const writes = 6
	memory, length := storeWithLog(t, writes, logBlock)
	if length < writes*logBlock || length > writes*(logBlock+1024) {
		t.Fatalf("the log has %d bytes, want a little more than %d blocks", length, writes)
	}
	last, err := openFlipped(t, memory, length/2)
	if err != nil {
		t.Fatalf("open: %v; if Pebble notices this by now, the limit in the package's documentation may go", err)
	}
	if last >= writes-2 {
		t.Errorf("the log ends at %d of %d, want more to be lost without a word", last, writes)
	}
}
