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
	checkLeaks(t)
	logdbtest.RunCrash(t, func(fs vfs.FS) (logdb.LogDB, error) {
		return pebblelog.Open(pebblelog.Options{FS: fs, Dir: "log", MemtableBytes: pebblelog.MinMemtableBytes})
	})
}

// TestFaults lets single operations of the file system fail, among them those in the middle of the change from one log file
// to the next, where Pebble left alone would end the process.
func TestFaults(t *testing.T) {
	logdbtest.RunFaults(t, func(fs vfs.FS) (logdb.LogDB, error) {
		return pebblelog.Open(pebblelog.Options{FS: fs, Dir: "log", MemtableBytes: pebblelog.MinMemtableBytes})
	})
}
