package benchmark

import (
	"fmt"
	"io"

	"github.com/flotilla-raft/flotilla/logdb"
)

// LogReporter is implemented by clusters whose log stores count what they do.
type LogReporter interface {
	// LogCounts returns what was counted so far, one for each host.
	LogCounts() []LogCounts
}

// LogCounts is what one host's log store and log cache have counted.
type LogCounts struct {
	Store logdb.Metrics
	Cache logdb.CacheCounters
}

// LogFigures are what the log stores of all hosts did over a measurement, and what they take at its end. Those that a store does not tell are 0.
type LogFigures struct {
	// GroupBytes is the mean of what was written at a time, Gathered of the commits in it.
	GroupBytes float64 `json:"group_bytes"`
	Gathered   float64 `json:"gathered"`
	// Microseconds that writes to the log took, and syncs.
	WriteP50 float64 `json:"write_p50_us"`
	WriteP99 float64 `json:"write_p99_us"`
	SyncP50  float64 `json:"sync_p50_us"`
	SyncP99  float64 `json:"sync_p99_us"`
	// Queue is how many commits were under way at the end.
	Queue          float64 `json:"queue"`
	BytesPerSecond float64 `json:"bytes_per_second"`
	// CacheHitRate is the share of what was asked of the log caches that was there.
	CacheHitRate       float64 `json:"cache_hit_rate"`
	LiveShare          float64 `json:"live_share"`
	SpaceAmplification float64 `json:"space_amplification"`
	// Rewrites counts files that were emptied by moving what was live, or compactions, and RewrittenBytes what was written again by it.
	Rewrites       float64 `json:"rewrites"`
	RewrittenBytes float64 `json:"rewritten_bytes"`
}

// LogFiguresOf returns the figures of the span between two looks at the same hosts.
func LogFiguresOf(from, to []LogCounts, seconds float64) (f LogFigures) {
	var all logdb.Metrics
	var hits, misses uint64
	for i := range to {
		m, before := &to[i].Store, &from[i].Store
		for _, d := range [...]struct{ sum, to, from *logdb.Distribution }{
			{&all.GroupBytes, &m.GroupBytes, &before.GroupBytes}, {&all.Gathered, &m.Gathered, &before.Gathered},
			{&all.WriteLatency, &m.WriteLatency, &before.WriteLatency}, {&all.SyncLatency, &m.SyncLatency, &before.SyncLatency},
		} {
			d.sum.Add(d.to.Since(d.from))
		}
		all.LogBytes += m.LogBytes - before.LogBytes
		all.Rewrites += m.Rewrites - before.Rewrites
		all.RewrittenBytes += m.RewrittenBytes - before.RewrittenBytes
		all.Queue += m.Queue
		all.DiskBytes += m.DiskBytes
		all.LiveBytes += m.LiveBytes
		hits += to[i].Cache.Hits - from[i].Cache.Hits
		misses += to[i].Cache.Misses - from[i].Cache.Misses
	}
	const microsecond = 1e3
	return LogFigures{
		GroupBytes: all.GroupBytes.Mean(), Gathered: all.Gathered.Mean(),
		WriteP50: float64(all.WriteLatency.Quantile(0.5)) / microsecond, WriteP99: float64(all.WriteLatency.Quantile(0.99)) / microsecond,
		SyncP50: float64(all.SyncLatency.Quantile(0.5)) / microsecond, SyncP99: float64(all.SyncLatency.Quantile(0.99)) / microsecond,
		Queue: float64(all.Queue), BytesPerSecond: float64(all.LogBytes) / max(seconds, 1e-9),
		CacheHitRate: float64(hits) / float64(max(1, hits+misses)),
		LiveShare:    all.LiveShare(), SpaceAmplification: all.SpaceAmplification(),
		Rewrites: float64(all.Rewrites), RewrittenBytes: float64(all.RewrittenBytes),
	}
}

// Print writes the figures in one line.
func (f *LogFigures) Print(out io.Writer) {
	fmt.Fprintf(out, "           log: %s B a write, %s commits in it; write p50 %.0f us p99 %.0f us, sync p50 %.0f us p99 %.0f us; %s MB/s; queue %.0f; "+
		"live %.0f %%, %.2f B on disk per live one; %.0f rewrites, %s MB\n", figure(f.GroupBytes), figure(f.Gathered), f.WriteP50, f.WriteP99,
		f.SyncP50, f.SyncP99, figure(f.BytesPerSecond/1e6), f.Queue, 100*f.LiveShare, f.SpaceAmplification, f.Rewrites, figure(f.RewrittenBytes/1e6))
}

// logMetrics lists the figures by the names that requirements have for them.
func logMetrics() []metric {
	return []metric{
		{"log.group_bytes", func(r *Result) *float64 { return &r.Log.GroupBytes }},
		{"log.gathered", func(r *Result) *float64 { return &r.Log.Gathered }},
		{"log.write_p50_us", func(r *Result) *float64 { return &r.Log.WriteP50 }},
		{"log.write_p99_us", func(r *Result) *float64 { return &r.Log.WriteP99 }},
		{"log.sync_p50_us", func(r *Result) *float64 { return &r.Log.SyncP50 }},
		{"log.sync_p99_us", func(r *Result) *float64 { return &r.Log.SyncP99 }},
		{"log.queue", func(r *Result) *float64 { return &r.Log.Queue }},
		{"log.bytes_per_second", func(r *Result) *float64 { return &r.Log.BytesPerSecond }},
		{"log.cache_hit_rate", func(r *Result) *float64 { return &r.Log.CacheHitRate }},
		{"log.live_share", func(r *Result) *float64 { return &r.Log.LiveShare }},
		{"log.space_amplification", func(r *Result) *float64 { return &r.Log.SpaceAmplification }},
		{"log.rewrites", func(r *Result) *float64 { return &r.Log.Rewrites }},
		{"log.rewritten_bytes", func(r *Result) *float64 { return &r.Log.RewrittenBytes }},
	}
}

// logCounts asks a cluster, if it can tell.
func logCounts(cluster Cluster) []LogCounts {
	if reporter, ok := cluster.(LogReporter); ok {
		return reporter.LogCounts()
	}
	return nil
}
