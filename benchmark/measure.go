package benchmark

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark/countfs"
)

// measurement is the watch over one load: the warm-up, the span that counts, and a progress line each second of both.
type measurement struct {
	*bench
	load    *load
	cluster Cluster
	fs      *countfs.FS
	// machines count batches; flushes reads the device's counter.
	machines [][]*Machine
	flushes  func() uint64

	second, total latencies
	errors, busy  uint64 // at the last progress line
	offered       offered
	result        Result
	steal, others float64 // percent
	lastLine      time.Duration
	warmingUp     bool
}

// counters are the figures besides usage that are taken at both ends.
type counters struct {
	errors, busy, leaderChanges, syncs, flushes uint64
	batches, commands                           uint64
	offered                                     offered
}

func (m *measurement) counters() counters {
	c := counters{
		errors: m.load.errors.Load(), busy: m.load.busy.Load(), leaderChanges: m.cluster.LeaderChanges(), syncs: m.fs.Syncs(),
		flushes: m.flushes(),
	}
	for _, machine := range m.machines[0] { // one host's: the others apply the same
		batches, commands := machine.counts()
		c.batches += batches
		c.commands += commands
	}
	if m.load.open != nil {
		c.offered = m.load.open.counted()
		c.busy += c.offered.refused
	}
	return c
}

// measure lets the warm-up pass, collects garbage once, and measures. Whatever ended before the span counts for nothing; what
// ends within it counts whole.
func (m *measurement) measure(ctx context.Context) error {
	m.second, m.total = newLatencies(), newLatencies()
	m.warmingUp = true
	m.lastLine = m.load.now()
	if err := m.watch(ctx, m.Warmup); err != nil {
		return err
	}
	runtime.GC()
	m.warmingUp = false
	drain(m.load.recorders, m.second)
	m.second.reset()
	m.lastLine = m.load.now()
	end := func() {}
	if m.Observe != nil {
		end = m.Observe()
	}
	from, counted, logs := readUsage(), m.counters(), logCounts(m.cluster)
	err := m.watch(ctx, m.Duration)
	to, ended := readUsage(), m.counters()
	end()
	if err != nil {
		return err
	}
	drain(m.load.recorders, m.total)
	m.conclude(from, to, counted, ended)
	m.result.Log = LogFiguresOf(logs, logCounts(m.cluster), m.result.Seconds)
	return nil
}

// watch prints a line each second until the span is over.
func (m *measurement) watch(ctx context.Context, span time.Duration) error {
	end := time.NewTimer(span)
	defer end.Stop()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	begin := m.load.now()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-second.C:
			m.progress(begin)
		case <-end.C:
			if m.load.now()-m.lastLine > time.Second/2 { // the line that falls together with the end
				m.progress(begin)
			}
			return nil
		}
	}
}

// progress prints what the last second brought. Rates are by the time that really passed.
func (m *measurement) progress(begin time.Duration) {
	m.second.reset()
	drain(m.load.recorders, m.second)
	m.total.merge(m.second)
	if m.warmingUp {
		m.total.reset()
	}
	now := m.load.now()
	seconds := (now - m.lastLine).Seconds()
	m.lastLine = now
	phase := "        "
	if m.warmingUp {
		phase = "warm-up "
	}
	writes := latencyOf(m.second.writes)
	line := fmt.Sprintf("%s%4.0fs  %s writes/s  p50 %.2f ms  p99 %.2f ms", phase, (now - begin).Seconds(),
		figure(float64(m.second.writes.TotalCount())/seconds), writes.P50, writes.P99)
	if m.ReadRatio > 0 {
		reads := latencyOf(m.second.reads)
		line += fmt.Sprintf("  %s reads/s  p50 %.2f ms  p99 %.2f ms", figure(float64(m.second.reads.TotalCount())/seconds),
			reads.P50, reads.P99)
	}
	c := m.counters()
	line += fmt.Sprintf("  errors %d", c.errors-m.errors)
	if c.busy > m.busy {
		line += fmt.Sprintf("  busy %d", c.busy-m.busy)
	}
	if c.errors > m.errors {
		if last := m.load.lastError.Load(); last != nil {
			line += fmt.Sprintf("  (last: %v)", *last)
		}
	}
	if m.load.open != nil {
		line += fmt.Sprintf("  offered %s/s", figure(float64(c.offered.issued-m.offered.issued)/seconds))
	}
	m.errors, m.busy, m.offered = c.errors, c.busy, c.offered
	fmt.Fprintln(m.out, line)
}

// conclude turns what was counted into the result.
func (m *measurement) conclude(from, to usage, counted, ended counters) {
	seconds := to.At.Sub(from.At).Seconds()
	writes, reads := float64(m.total.writes.TotalCount()), float64(m.total.reads.TotalCount())
	operations := max(writes+reads, 1)
	m.steal, m.others = m.stealPercent(to, from), to.otherPercent(from)
	m.result = Result{
		Transport: m.Transport, Hosts: m.Hosts, Shards: m.Shards, Payload: m.Payload, InFlight: m.InFlight, ReadRatio: m.ReadRatio,
		DelayMilliseconds: float64(m.Delay) / float64(time.Millisecond), SnapshotEntries: m.SnapshotEntries, Reads: m.Reads, OwnContext: m.OwnContext,
		Blocking: m.load.blocking, Seed: m.Seed,
		Seconds:              seconds,
		WritesPerSecond:      writes / seconds,
		ReadsPerSecond:       reads / seconds,
		WriteLatency:         latencyOf(m.total.writes),
		ReadLatency:          latencyOf(m.total.reads),
		CPUSecondsPerMillion: (to.CPU - from.CPU).Seconds() / operations * 1e6,
		AllocsPerOp:          float64(to.allocs-from.allocs) / operations,
		AllocBytesPerOp:      float64(to.allocBytes-from.allocBytes) / operations,
		DiskBytesPerOp:       float64(to.DiskBytes-from.DiskBytes) / operations,
		FsyncsPerThousandOps: float64(ended.syncs-counted.syncs) / operations * 1000,
		LeaderChanges:        float64(ended.leaderChanges - counted.leaderChanges),
		Errors:               float64(ended.errors - counted.errors),
		Busy:                 float64(ended.busy - counted.busy),

		FlushesPerThousandOps: float64(ended.flushes-counted.flushes) / operations * 1000,
		BatchSize:             float64(ended.commands-counted.commands) / float64(max(ended.batches-counted.batches, 1)),
		OfferedPerSecond:      float64(ended.offered.issued-counted.offered.issued) / seconds,
		RefusedPerSecond:      float64(ended.offered.refused-counted.offered.refused) / seconds,
		MissedPerSecond:       float64(ended.offered.missed-counted.offered.missed) / seconds,
		OtherCPUPercent:       m.others,
		ClientCPUShare:        (ended.offered.cpu - counted.offered.cpu).Seconds() / max((to.CPU-from.CPU).Seconds(), 1e-9),
	}
}
