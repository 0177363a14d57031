package seglog

import (
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/logdb"
)

// metrics is what a store measures beside its counters.
type metrics struct {
	queue                atomic.Int64
	groupBytes, gathered logdb.Histogram
	write, sync          logdb.Histogram
}

// stopwatch starts a stopwatch. A store that is run by hand has no clock.
func (s *Store) stopwatch() logdb.Stopwatch {
	if s.options.Manual {
		return logdb.Stopwatch{}
	}
	return logdb.StartStopwatch()
}

// Metrics implements logdb.MetricsReporter. Groups of the store's own, such as markers and moved records, count as writes that gathered no Commit.
func (s *Store) Metrics() logdb.Metrics {
	files, live := s.sizes()
	m := &s.metrics
	return logdb.Metrics{
		Commits: s.counters.commits.Load(), Queue: int(m.queue.Load()),
		GroupBytes: m.groupBytes.Distribution(), Gathered: m.gathered.Distribution(),
		WriteLatency: m.write.Distribution(), SyncLatency: m.sync.Distribution(),
		LogBytes: s.counters.bytes.Load(), Rewrites: s.counters.removed.Load(), RewrittenBytes: s.counters.rewritten.Load(),
		DiskBytes: files + s.pool.bytes(), LiveBytes: live,
	}
}
