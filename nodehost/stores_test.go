package nodehost_test

import (
	"flag"
	"slices"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
)

// soak makes the tests that kill processes and cut the power go on for longer than a sample: so many kills, and as many scenarios of power
// cuts, on each store.
var soak = flag.Int("soak", 0, "kills and power cut scenarios on each store, if more than the sample")

// store is a log store that hosts can run on.
type store struct {
	name string
	open func(nodehost.LogDBContext) (logdb.LogDB, error)
}

// stores are those that have to survive kills and power cuts. The segments are small, so that many are filled, sealed and used again.
var stores = []store{
	{name: "pebble", open: nodehost.PebbleLog(pebblelog.Options{})},
	{name: "seglog", open: nodehost.SegmentedLog(seglog.Options{SegmentBytes: 256 << 10})},
}

// storeNamed returns one of the stores.
func storeNamed(name string) store {
	return stores[slices.IndexFunc(stores, func(s store) bool { return s.name == name })]
}
