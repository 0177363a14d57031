package pebblelog_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
)

// TestCrash cuts the power around every sync. The memtables are small enough for flushes, and the change from one log
// file to the next, to be among the points.
func TestCrash(t *testing.T) {
	logdbtest.RunCrash(t, func(fs vfs.FS) (logdb.LogDB, error) {
		return pebblelog.Open(pebblelog.Options{FS: fs, Dir: "log", MemtableBytes: pebblelog.MinMemtableBytes})
	})
}
