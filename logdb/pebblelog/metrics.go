package pebblelog

import (
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/logdb"
)

// logMetrics is what is measured of the files of the write-ahead log.
type logMetrics struct {
	bytes       atomic.Uint64
	write, sync logdb.Histogram
}

// stopwatch starts a stopwatch if the file is of the log.
func (f *guardedFile) stopwatch() logdb.Stopwatch {
	if !f.log {
		return logdb.Stopwatch{}
	}
	return logdb.StartStopwatch()
}

func (f *guardedFile) wrote(watch logdb.Stopwatch, n *int) {
	if f.log {
		watch.Stop(&f.guard.log.write)
		f.guard.log.bytes.Add(uint64(*n))
	}
}

func (f *guardedFile) synced(watch logdb.Stopwatch) { watch.Stop(&f.guard.log.sync) }

// Metrics implements logdb.MetricsReporter. What is live is not known: Pebble finds out when it compacts.
func (s *Store) Metrics() logdb.Metrics {
	m := logdb.Metrics{
		Commits: s.counters.commits.Load(), Queue: int(s.waiting.Load()), GroupBytes: s.commitBytes.Distribution(),
		WriteLatency: s.guard.log.write.Distribution(), SyncLatency: s.guard.log.sync.Distribution(),
		LogBytes: s.guard.log.bytes.Load(), FileBytes: s.guard.bytesWritten.Load(),
	}
	s.use.RLock()
	defer s.use.RUnlock()
	if s.closed || s.wedged.Load() {
		return m
	}
	pebbles := s.db.Metrics()
	m.DiskBytes = int64(pebbles.DiskSpaceUsage())
	m.Rewrites = uint64(pebbles.Compact.Count)
	for i := range pebbles.Levels {
		m.RewrittenBytes += pebbles.Levels[i].TableBytesCompacted
	}
	return m
}
