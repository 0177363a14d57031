package seglog_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.uber.org/goleak"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
)

// checkLeaks fails the test if goroutines that it started are left.
func checkLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.Verify(t, before) })
}

// TestConformanceOnDisk runs on the real file system, around the page cache where that is possible.
func TestConformanceOnDisk(t *testing.T) {
	checkLeaks(t)
	for name, options := range map[string]seglog.Options{
		"Default":  {},
		"Buffered": {Buffered: true, HandOff: true, TrustIndex: true},
		"Small":    {SegmentBytes: seglog.MinSegmentBytes},
	} {
		t.Run(name, func(t *testing.T) {
			logdbtest.Run(t, func(t *testing.T) logdbtest.Place {
				options := options
				options.Dir = t.TempDir()
				return logdbtest.Place{Open: func() (logdb.LogDB, error) { return seglog.Open(options) }}
			})
		})
	}
}

// TestConformanceOfLanes runs on three lanes, of which one can be made to fail.
func TestConformanceOfLanes(t *testing.T) {
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
				return seglog.OpenLanes(seglog.Options{
					FS: fs, Dir: "log", Directories: []string{"second/log", "third"}, SegmentBytes: seglog.MinSegmentBytes,
				})
			},
			Fail: func() { fail.Store(true) },
		}
	})
}

// TestConformanceInMemory runs on a file system whose syncs can be made to fail, with segments so small that they are filled,
// emptied and used again all the time.
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
				return seglog.Open(seglog.Options{FS: fs, Dir: "log", SegmentBytes: seglog.MinSegmentBytes})
			},
			Fail: func() { fail.Store(true) },
		}
	})
}
