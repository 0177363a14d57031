package benchmark

import (
	"fmt"
	"slices"
	"strings"
)

// Floor is the name, in the place of an engine's, that a requirement of WorkloadFailover has for what the timeouts alone allow.
const Floor = "floor"

// failoverMetrics are the figures of WorkloadFailover, by the names that requirements have for them; those with a floor come
// first.
func failoverMetrics() (names []string, floors int) {
	return []string{
		"close.median_ms", "close.max_ms", "kill.median_ms", "kill.max_ms",
		"close.others_gap_ms", "kill.others_gap_ms", "close.unrecovered", "kill.unrecovered",
	}, 4
}

// AppendMetrics are the figures of WorkloadAppend that requirements can name: for each number of appenders and payload the ratio of the store's rate
// of syncs, and so of its bandwidth, to the limit's; the bytes that reach the device for each of a batch; the bytes of files, less two
// segments, for each live one once all shards were compacted; the bytes of heap for each shard that does nothing.
func AppendMetrics() (names []string) {
	for _, appenders := range AppendAppenders() {
		for _, payload := range AppendPayloads() {
			names = append(names, AppendMetric(appenders, payload))
		}
	}
	for _, load := range SpaceLoads() {
		names = append(names, "append."+load+"device_bytes", "append."+load+"disk_use")
	}
	return append(names, "append.idle_shard_bytes")
}

// SpaceLoads are what stands before the names of figures of 1,000 shards with commands of 128 bytes: nothing with 10,000 of them in flight,
// "light_" with a tenth.
func SpaceLoads() [2]string { return [2]string{"", "light_"} }

// AppendAppenders and AppendPayloads are the numbers of appenders and the sizes of commands of WorkloadAppend.
func AppendAppenders() []int { return []int{1, 8, 64} }

// AppendPayloads are the sizes of commands of WorkloadAppend in bytes.
func AppendPayloads() []int { return []int{16, 1 << 10, 64 << 10} }

// AppendMetric names one of AppendMetrics.
func AppendMetric(appenders, payload int) string {
	return fmt.Sprintf("append.%dx%d.ratio", appenders, payload)
}

// OpenMetrics are the figures of WorkloadOpen: the seconds that opening takes after a clean close and after a kill; the same until every
// replica is loaded, which reads and checks the whole log; and the bytes of heap for each batch.
func OpenMetrics() []string {
	return []string{"open.closed_s", "open.killed_s", "open.closed_loaded_s", "open.killed_loaded_s", "open.bytes_per_batch"}
}

// SlowFollowerMetrics are the figures of WorkloadSlowFollower.
func SlowFollowerMetrics() []string {
	return []string{
		"before.writes_per_second", "stopped.writes_per_second", "stopped.rate_ratio", "stopped.busy", "stopped.errors",
		"stopped.heap_growth_mib", "catch_up.commands", "catch_up.seconds", "catch_up.writes_per_second", "catch_up.log_reads",
		"catch_up.log_reads_elsewhere", "catch_up.leader_changes",
	}
}

// RestartMetrics are the figures of WorkloadRestart.
func RestartMetrics() []string {
	return []string{"restart.started_s", "restart.led_s", "restart.read_s", "restart.applied"}
}

// SnapshotMetrics are the figures of WorkloadSnapshot.
func SnapshotMetrics() []string {
	return []string{
		"snapshot.before_writes_per_second", "snapshot.writes_per_second", "snapshot.rate_ratio", "snapshot.seconds",
		"snapshot.mib_per_second", "snapshot.pause_ms", "snapshot.before_gap_ms", "snapshot.gap_ms",
	}
}

// StreamMetrics are the figures of WorkloadStream.
func StreamMetrics() []string {
	return []string{
		"stream.disk_write_mib_per_second", "stream.loopback_mib_per_second", "stream.memory_mib_per_second", "stream.memory_ratio",
		"stream.on_disk_mib_per_second", "stream.on_disk_ratio", "stream.install_s", "stream.before_p99_ms", "stream.p99_ms", "stream.p99_ratio",
	}
}

// SessionMetrics are the figures of WorkloadSessions.
func SessionMetrics() []string {
	return []string{
		"sessions.rate_ratio", "sessions.writes_per_second", "sessions.without_writes_per_second", "sessions.cpu_ratio", "sessions.p50_ratio",
		"sessions.errors",
	}
}

// metricOf returns the workload that a figure belongs to, empty if there is none of that name.
func metricOf(name string) (workload string) {
	if _, known := metricNamed(name); known {
		return WorkloadSteady
	}
	if names, _ := failoverMetrics(); slices.Contains(names, name) {
		return WorkloadFailover
	}
	if slices.Contains(AppendMetrics(), name) {
		return WorkloadAppend
	}
	if slices.Contains(OpenMetrics(), name) {
		return WorkloadOpen
	}
	if slices.Contains(SlowFollowerMetrics(), name) {
		return WorkloadSlowFollower
	}
	if slices.Contains(RestartMetrics(), name) {
		return WorkloadRestart
	}
	if slices.Contains(StreamMetrics(), name) {
		return WorkloadStream
	}
	if slices.Contains(SnapshotMetrics(), name) {
		return WorkloadSnapshot
	}
	if slices.Contains(SessionMetrics(), name) {
		return WorkloadSessions
	}
	return ""
}

// checkWorkload finds what does not go with the workload.
func (c *Config) checkWorkload(engines []Engine) (faults []error) {
	refuse := func(format string, arguments ...any) { faults = append(faults, fmt.Errorf(format, arguments...)) }
	names, floors := failoverMetrics()
	for _, r := range c.Require {
		if workload := metricOf(r.Metric); workload != c.Workload && c.Workload != "" {
			refuse("--require %s: the figure belongs to --workload %s", r, workload)
		} else if workload == WorkloadFailover && r.Engine != "" && (r.Engine != Floor || !slices.Contains(names[:floors], r.Metric)) {
			refuse("--require %s: accepted on the right is a number, or for %s a NUMBER*%s", r, strings.Join(names[:floors], ", "), Floor)
		}
	}
	if slices.Contains([]string{WorkloadAppend, WorkloadOpen, WorkloadSlowFollower, WorkloadRestart, WorkloadSnapshot, WorkloadStream, WorkloadSessions}, c.Workload) {
		for _, r := range c.Require {
			if r.Engine != "" {
				refuse("--require %s: accepted on the right is a number", r)
			}
		}
	}
	ownEngine := []string{WorkloadFailover, WorkloadSlowFollower, WorkloadSessions}
	if slices.Contains(ownEngine, c.Workload) && len(engines) > 0 && !slices.Equal(c.Engines, []string{engines[0].Name}) {
		refuse("--engine %s: --workload %s runs %s only", strings.Join(c.Engines, ","), c.Workload, engines[0].Name)
	}
	if c.Workload != WorkloadFailover && c.Workload != WorkloadSlowFollower {
		return faults
	}
	if c.Hosts < 3 {
		refuse("--hosts %d: --workload %s needs a majority without one host (accepted: 3 and above)", c.Hosts, c.Workload)
	}
	if c.ReadRatio != 0 || c.Blocking || c.Inject != InjectNothing || c.Transport != "tcp" {
		refuse("--workload %s takes no --read-ratio, --blocking, --inject and no --transport but tcp", c.Workload)
	}
	return faults
}
