package benchmark

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxRecorders bounds the recorders of a load. More than the shards that complete requests at the same time would only cost
// cache.
const maxRecorders = 64

// Latencies are kept in nanoseconds to two significant digits, so a figure is off by at most 1 %, a tenth of what repeats differ
// by; a third digit would make each histogram eight times as large.
const (
	leastLatency     = int64(500 * time.Nanosecond)
	greatestLatency  = int64(10 * time.Minute)
	latencyPrecision = 2
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(leastLatency, greatestLatency, latencyPrecision)
}

// recorder takes the latencies of one group of shards. The lock is there for the requests that end on another goroutine than the
// usual one, and for the reader that comes once a second; it is nearly always free.
type recorder struct {
	mu     sync.Mutex
	writes *hdrhistogram.Histogram
	reads  *hdrhistogram.Histogram
	_      [64]byte // recorders stand in one slice; two must not share a cache line
}

func (r *recorder) record(read bool, latency time.Duration) {
	value := min(max(int64(latency), 0), greatestLatency)
	r.mu.Lock()
	if read {
		_ = r.reads.RecordValue(value) // the value is in range
	} else {
		_ = r.writes.RecordValue(value)
	}
	r.mu.Unlock()
}

// latencies are the samples of a span of time.
type latencies struct{ writes, reads *hdrhistogram.Histogram }

func newLatencies() latencies { return latencies{newHistogram(), newHistogram()} }

func (l latencies) reset() {
	l.writes.Reset()
	l.reads.Reset()
}

func (l latencies) merge(from latencies) {
	l.writes.Merge(from.writes)
	l.reads.Merge(from.reads)
}

func newRecorders(shards int) []recorder {
	recorders := make([]recorder, min(shards, maxRecorders))
	for i := range recorders {
		recorders[i].writes, recorders[i].reads = newHistogram(), newHistogram()
	}
	return recorders
}

// drain moves what the recorders took since the last call into the given latencies.
func drain(recorders []recorder, into latencies) {
	for i := range recorders {
		r := &recorders[i]
		r.mu.Lock()
		if r.writes.TotalCount() > 0 {
			into.writes.Merge(r.writes)
			r.writes.Reset()
		}
		if r.reads.TotalCount() > 0 {
			into.reads.Merge(r.reads)
			r.reads.Reset()
		}
		r.mu.Unlock()
	}
}
