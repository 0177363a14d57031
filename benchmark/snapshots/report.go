package snapshots

import (
	"fmt"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// Figures are what one repeat found, or the medians of several, figure by figure; those of the other workload are 0.
type Figures struct {
	// Started, Led and Read are the seconds from New until the replica was started, a leader known, the first read answered.
	Started float64 `json:"restart_started_s,omitempty"`
	Led     float64 `json:"restart_led_s,omitempty"`
	Read    float64 `json:"restart_read_s,omitempty"`
	// Applied is how many commands the state machine holds then.
	Applied float64 `json:"restart_applied,omitempty"`

	// Before and During are acknowledged writes in a second without and with a snapshot under way, Ratio the second over the first.
	Before float64 `json:"snapshot_before_writes_per_second,omitempty"`
	During float64 `json:"snapshot_writes_per_second,omitempty"`
	Ratio  float64 `json:"snapshot_rate_ratio,omitempty"`
	// Seconds is how long the snapshot took until it was durable, Bandwidth its MiB in a second.
	Seconds   float64 `json:"snapshot_seconds,omitempty"`
	Bandwidth float64 `json:"snapshot_mib_per_second,omitempty"`
	// Pause is how long Updates were held up for the snapshot; the gaps are the longest times without an acknowledged write.
	Pause     float64 `json:"snapshot_pause_ms,omitempty"`
	BeforeGap float64 `json:"snapshot_before_gap_ms,omitempty"`
	DuringGap float64 `json:"snapshot_gap_ms,omitempty"`

	// Disk and Loopback are MiB in a second that a file is written and synced at, and that one connection carries: what a stream is held against.
	Disk     float64 `json:"stream_disk_write_mib_per_second,omitempty"`
	Loopback float64 `json:"stream_loopback_mib_per_second,omitempty"`
	// StreamMemory and StreamDisk are the MiB in a second of a stream to a new replica, until it is durable there, of a state machine in memory and of one
	// on disk; the ratios are to the smaller of the two above. InstallSeconds is how long it took until the one in memory had recovered.
	StreamMemory      float64 `json:"stream_memory_mib_per_second,omitempty"`
	StreamMemoryRatio float64 `json:"stream_memory_ratio,omitempty"`
	StreamDisk        float64 `json:"stream_on_disk_mib_per_second,omitempty"`
	StreamDiskRatio   float64 `json:"stream_on_disk_ratio,omitempty"`
	InstallSeconds    float64 `json:"stream_install_s,omitempty"`
	// BeforeP99 and StreamP99 are of writes to the other shards of the two hosts, before and during a stream at half the bandwidth.
	BeforeP99 float64 `json:"stream_before_p99_ms,omitempty"`
	StreamP99 float64 `json:"stream_p99_ms,omitempty"`
	P99Ratio  float64 `json:"stream_p99_ratio,omitempty"`
}

// fields are the figures by the names that requirements have for them, in benchmark.SnapshotMetrics, RestartMetrics and
// StreamMetrics.
func (f *Figures) fields() benchmark.Fields {
	return benchmark.Fields{
		"restart.started_s": &f.Started, "restart.led_s": &f.Led, "restart.read_s": &f.Read, "restart.applied": &f.Applied,
		"snapshot.before_writes_per_second": &f.Before, "snapshot.writes_per_second": &f.During, "snapshot.rate_ratio": &f.Ratio,
		"snapshot.seconds": &f.Seconds, "snapshot.mib_per_second": &f.Bandwidth, "snapshot.pause_ms": &f.Pause,
		"stream.disk_write_mib_per_second": &f.Disk, "stream.loopback_mib_per_second": &f.Loopback,
		"stream.memory_mib_per_second": &f.StreamMemory, "stream.memory_ratio": &f.StreamMemoryRatio,
		"stream.on_disk_mib_per_second": &f.StreamDisk, "stream.on_disk_ratio": &f.StreamDiskRatio, "stream.install_s": &f.InstallSeconds,
		"stream.before_p99_ms": &f.BeforeP99, "stream.p99_ms": &f.StreamP99, "stream.p99_ratio": &f.P99Ratio,
		"snapshot.before_gap_ms": &f.BeforeGap, "snapshot.gap_ms": &f.DuringGap,
	}
}

// String is a line for a reader.
func (f *Figures) String() string {
	if f.StreamMemory > 0 {
		return fmt.Sprintf("in memory %.0f MiB/s (%.2f), on disk %.0f MiB/s (%.2f) of a disk's %.0f and loopback's %.0f; installed after %.2f s; p99 of others %.2f ms before, %.2f during (%.2f)",
			f.StreamMemory, f.StreamMemoryRatio, f.StreamDisk, f.StreamDiskRatio, f.Disk, f.Loopback, f.InstallSeconds, f.BeforeP99, f.StreamP99, f.P99Ratio)
	}
	if f.Read > 0 {
		return fmt.Sprintf("%.0f commands; started after %.3f s, led after %.3f s, first read after %.3f s", f.Applied, f.Started, f.Led, f.Read)
	}
	return fmt.Sprintf("%.0f writes/s before, %.0f during (%.2f); %.2f s, %.0f MiB/s; pause %.2f ms; longest gap %.1f ms before, %.1f during",
		f.Before, f.During, f.Ratio, f.Seconds, f.Bandwidth, f.Pause, f.BeforeGap, f.DuringGap)
}

// Report is what a run found. It is what --json writes.
type Report struct {
	Workload     string              `json:"workload"`
	Hosts        int                 `json:"hosts"`
	Payload      int                 `json:"payload"`
	InFlight     int                 `json:"in_flight"`
	LogDB        string              `json:"logdb"`
	Entries      int                 `json:"entries"`
	StateMiB     int                 `json:"state_mib"`
	Repeats      []Figures           `json:"repeats"`
	Median       Figures             `json:"median"`
	Requirements []benchmark.Verdict `json:"requirements,omitempty"`
}

func (r *Report) conclude() {
	var all []benchmark.Fields
	for i := range r.Repeats {
		all = append(all, r.Repeats[i].fields())
	}
	r.Median.fields().TakeMedians(all)
}
