package benchmark

import (
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency describes the latencies of one kind of request in milliseconds, to 1 %.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	at := func(percent float64) float64 {
		return float64(h.ValueAtPercentile(percent)) / float64(time.Millisecond)
	}
	return Latency{P50: at(50), P99: at(99), P999: at(99.9), Max: float64(h.Max()) / float64(time.Millisecond)}
}

// Result is one measured run, or the median of several taken figure by figure.
type Result struct {
	Engine    string  `json:"engine"`
	LogDB     string  `json:"logdb"`
	Transport string  `json:"transport"`
	Hosts     int     `json:"hosts"`
	Shards    int     `json:"shards"`
	Payload   int     `json:"payload"`
	InFlight  int     `json:"in_flight"`
	ReadRatio float64 `json:"read_ratio"`
	Blocking  bool    `json:"blocking"`
	// OwnContext belongs to blocking calls; Reads says how reads were served.
	OwnContext        bool    `json:"own_context,omitempty"`
	Reads             string  `json:"reads,omitempty"`
	DelayMilliseconds float64 `json:"delay_ms,omitempty"`
	SnapshotEntries   int     `json:"snapshot_entries,omitempty"`
	Seed              uint64  `json:"seed"`

	Seconds         float64 `json:"seconds"`
	WritesPerSecond float64 `json:"writes_per_second"`
	ReadsPerSecond  float64 `json:"reads_per_second"`
	WriteLatency    Latency `json:"write_latency_ms"`
	ReadLatency     Latency `json:"read_latency_ms"`

	// These count everything in the process: all hosts and the harness. An operation is a write or a read.
	CPUSecondsPerMillion float64 `json:"cpu_seconds_per_million_ops"`
	AllocsPerOp          float64 `json:"allocs_per_op"`
	AllocBytesPerOp      float64 `json:"alloc_bytes_per_op"`
	DiskBytesPerOp       float64 `json:"disk_bytes_per_op"`
	FsyncsPerThousandOps float64 `json:"fsyncs_per_thousand_ops"`
	// FlushesPerThousandOps counts the cache flushes of the data directory's device, whoever asked for them; 0 where the system does not
	// tell.
	FlushesPerThousandOps float64 `json:"flushes_per_thousand_ops"`
	// PeakRSSMiB is the most memory that the process held from the start of the hosts to the end of the check; 0 where the system
	// does not tell.
	PeakRSSMiB float64 `json:"peak_rss_mib"`
	// BatchSize is how many commands the state machines of one host were given at a time.
	BatchSize float64 `json:"batch_size"`
	// Of an open loop: writes issued, refused as busy, and not issued because InFlight was reached or the client was too slow, each a second; and the share of the
	// process's CPU time that the issuing goroutines took, their time inside the engine's calls included.
	OfferedPerSecond float64 `json:"offered_per_second,omitempty"`
	RefusedPerSecond float64 `json:"refused_per_second,omitempty"`
	MissedPerSecond  float64 `json:"missed_per_second,omitempty"`
	ClientCPUShare   float64 `json:"client_cpu_share,omitempty"`

	// What a refusal costs its caller, where that alone was measured.
	RefusalNanoseconds float64 `json:"refusal_ns,omitempty"`
	RefusalAllocs      float64 `json:"refusal_allocs,omitempty"`

	// Log is what the log stores of all hosts did.
	Log LogFigures `json:"log"`

	LeaderChanges         float64 `json:"leader_changes"`
	Errors                float64 `json:"errors"`
	Busy                  float64 `json:"busy"`
	YardstickFdatasyncP50 float64 `json:"fdatasync_p50_us"`
	YardstickStealPercent float64 `json:"steal_percent"`
	YardstickCPULoop      float64 `json:"cpu_loop_ms"`
	// OtherCPUPercent is the share of the machine's processor time that went to anything but this process: to other processes, and to what
	// the system does by itself, as for disks.
	OtherCPUPercent float64 `json:"other_cpu_percent"`
}

// Report is what a whole benchmark found. It is what --json writes.
type Report struct {
	// Repeats are the runs in the order in which they were made.
	Repeats []Result `json:"repeats"`
	// Median is that of the first engine.
	Median Result `json:"median"`
	// Medians and Comparison are there if several engines ran.
	Medians    []Result    `json:"medians,omitempty"`
	Comparison *Comparison `json:"comparison,omitempty"`
	// Requirements are those that were asked for, in order.
	Requirements []Verdict `json:"requirements,omitempty"`
}

// metric is a figure of a result, by the name that it has in JSON and in requirements.
type metric struct {
	name  string
	field func(*Result) *float64
}

// metrics lists every figure, in the order of the summary.
func metrics() []metric {
	return append([]metric{
		{"seconds", func(r *Result) *float64 { return &r.Seconds }},
		{"writes_per_second", func(r *Result) *float64 { return &r.WritesPerSecond }},
		{"reads_per_second", func(r *Result) *float64 { return &r.ReadsPerSecond }},
		{"write_latency_ms.p50", func(r *Result) *float64 { return &r.WriteLatency.P50 }},
		{"write_latency_ms.p99", func(r *Result) *float64 { return &r.WriteLatency.P99 }},
		{"write_latency_ms.p999", func(r *Result) *float64 { return &r.WriteLatency.P999 }},
		{"write_latency_ms.max", func(r *Result) *float64 { return &r.WriteLatency.Max }},
		{"read_latency_ms.p50", func(r *Result) *float64 { return &r.ReadLatency.P50 }},
		{"read_latency_ms.p99", func(r *Result) *float64 { return &r.ReadLatency.P99 }},
		{"read_latency_ms.p999", func(r *Result) *float64 { return &r.ReadLatency.P999 }},
		{"read_latency_ms.max", func(r *Result) *float64 { return &r.ReadLatency.Max }},
		{"cpu_seconds_per_million_ops", func(r *Result) *float64 { return &r.CPUSecondsPerMillion }},
		{"allocs_per_op", func(r *Result) *float64 { return &r.AllocsPerOp }},
		{"alloc_bytes_per_op", func(r *Result) *float64 { return &r.AllocBytesPerOp }},
		{"disk_bytes_per_op", func(r *Result) *float64 { return &r.DiskBytesPerOp }},
		{"fsyncs_per_thousand_ops", func(r *Result) *float64 { return &r.FsyncsPerThousandOps }},
		{"flushes_per_thousand_ops", func(r *Result) *float64 { return &r.FlushesPerThousandOps }},
		{"peak_rss_mib", func(r *Result) *float64 { return &r.PeakRSSMiB }},
		{"batch_size", func(r *Result) *float64 { return &r.BatchSize }},
		{"offered_per_second", func(r *Result) *float64 { return &r.OfferedPerSecond }},
		{"refused_per_second", func(r *Result) *float64 { return &r.RefusedPerSecond }},
		{"missed_per_second", func(r *Result) *float64 { return &r.MissedPerSecond }},
		{"client_cpu_share", func(r *Result) *float64 { return &r.ClientCPUShare }},
		{"refusal_ns", func(r *Result) *float64 { return &r.RefusalNanoseconds }},
		{"refusal_allocs", func(r *Result) *float64 { return &r.RefusalAllocs }},
		{"leader_changes", func(r *Result) *float64 { return &r.LeaderChanges }},
		{"errors", func(r *Result) *float64 { return &r.Errors }},
		{"busy", func(r *Result) *float64 { return &r.Busy }},
		{"fdatasync_p50_us", func(r *Result) *float64 { return &r.YardstickFdatasyncP50 }},
		{"steal_percent", func(r *Result) *float64 { return &r.YardstickStealPercent }},
		{"cpu_loop_ms", func(r *Result) *float64 { return &r.YardstickCPULoop }},
		{"other_cpu_percent", func(r *Result) *float64 { return &r.OtherCPUPercent }},
	}, logMetrics()...)
}

func metricNamed(name string) (metric, bool) {
	all := metrics()
	i := slices.IndexFunc(all, func(m metric) bool { return m.name == name })
	if i < 0 {
		return metric{}, false
	}
	return all[i], true
}

// medianOf takes the median of each figure over the repeats of one engine; of an even number, the mean of the middle two.
func medianOf(repeats []Result) Result {
	median := repeats[0]
	values := make([]float64, len(repeats))
	for _, m := range metrics() {
		for i := range repeats {
			values[i] = *m.field(&repeats[i])
		}
		slices.Sort(values)
		*m.field(&median) = (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	}
	return median
}

func (r *Result) yardsticks() Yardsticks {
	return Yardsticks{FdatasyncP50: r.YardstickFdatasyncP50, StealPercent: r.YardstickStealPercent, CPULoop: r.YardstickCPULoop}
}
