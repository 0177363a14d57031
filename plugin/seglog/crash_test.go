package seglog_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
)

func openSmall(fs vfs.FS) (logdb.LogDB, error) {
	return seglog.Open(seglog.Options{FS: fs, Dir: "log", SegmentBytes: seglog.MinSegmentBytes})
}

// TestCrash cuts the power around every sync, those of sealing, emptying and opening among them.
func TestCrash(t *testing.T) {
	checkLeaks(t)
	logdbtest.RunCrash(t, openSmall)
}

// TestFaults lets single operations of the file system fail.
func TestFaults(t *testing.T) {
	checkLeaks(t)
	logdbtest.RunFaults(t, openSmall)
}
