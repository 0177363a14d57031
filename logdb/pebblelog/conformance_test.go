package pebblelog_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"go.uber.org/goleak"
)

// checkLeaks fails the test if goroutines that it started are left. Tests whose stores fail while they are opened do without:
// Pebble leaves some behind then.
func checkLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.Verify(t, before) })
}

// TestConformanceOnDisk runs on the real file system.
func TestConformanceOnDisk(t *testing.T) {
	checkLeaks(t)
	logdbtest.Run(t, func(t *testing.T) logdbtest.Place {
		dir := t.TempDir()
		return logdbtest.Place{Open: func() (logdb.LogDB, error) {
			return pebblelog.Open(pebblelog.Options{Dir: dir})
		}}
	})
}

// TestConformanceInMemory runs on a file system whose syncs can be made to fail. The memtables are small, so that
// much of what is read comes from tables.
func TestConformanceInMemory(t *testing.T) {
	checkLeaks(t)
	logdbtest.Run(t, func(t *testing.T) logdbtest.Place {
		var fail atomic.Bool
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if fail.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
				return errors.New("injected: sync failed")
			}
			return nil
		}))
		return logdbtest.Place{
			Open: func() (logdb.LogDB, error) {
				return pebblelog.Open(pebblelog.Options{FS: fs, Dir: "log", MemtableBytes: pebblelog.MinMemtableBytes})
			},
			Fail: func() { fail.Store(true) },
		}
	})
}
