package pebblekv_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/pebblekv"
	"github.com/flotilla-raft/flotilla/rsm/rsmtest"
)

// A Pebble whose Open fails leaves its compaction scheduler running.
func TestMain(m *testing.M) {
	leaktest.Main(m, goleak.IgnoreTopFunction("github.com/cockroachdb/pebble/v2.(*ConcurrencyLimitScheduler).periodicGranter"))
}

func open(place rsmtest.Place) (rsm.StateMachine, error) {
	return pebblekv.New(pebblekv.Options{Dir: place.Dir, FS: place.FS, MemtableBytes: pebblekv.MinMemtableBytes})
}

func TestConformance(t *testing.T) {
	rsmtest.Run(t, rsmtest.Subject{New: open, Command: rsmtest.KeyValueCommand, Queries: rsmtest.KeyValueQueries()})
}

// The operating system's files, too.
func TestConformanceOnRealFiles(t *testing.T) {
	rsmtest.Run(t, rsmtest.Subject{New: open, Command: rsmtest.KeyValueCommand, Queries: rsmtest.KeyValueQueries(), RealFiles: true})
}
