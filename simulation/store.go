package simulation

import (
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
)

// The log stores that a run may have.
const (
	modelLogDB  = "model"
	pebbleLogDB = "pebble"
	seglogLogDB = "seglog"
)

// isFiled reports whether a store is on files.
func isFiled(logDB string) bool { return logDB == pebbleLogDB || logDB == seglogLogDB }

// store is what a disk keeps its logs in: it completes writes when it is told to.
type store interface {
	logdb.LogDB
	// Complete completes the oldest n writes under way.
	Complete(n int)
	// Fail makes writes fail from now on, or from the next one that reaches the disk.
	Fail(err error)
}

var (
	_ store = (*modellog.Log)(nil)
	_ store = (*fileStore)(nil)
)
