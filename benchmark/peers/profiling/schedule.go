package profiling

import (
	"io"
	"math"
	"runtime/metrics"
)

// schedule is what the runtime counts of its scheduler.
type schedule struct {
	waits   histogram // seconds that goroutines were runnable before they ran
	pauses  histogram // seconds that the world stood still for the collector
	classes map[string]float64
}

// histogram are counts by ranges; a range reaches from its bound to the next.
type histogram struct {
	counts []uint64
	bounds []float64
}

const (
	waitMetric  = "/sched/latencies:seconds"
	pauseMetric = "/sched/pauses/total/gc:seconds"
)

// classMetrics are estimates of the CPU time of all processors, in seconds.
func classMetrics() []string {
	return []string{"/cpu/classes/user:cpu-seconds", "/cpu/classes/gc/total:cpu-seconds", "/cpu/classes/idle:cpu-seconds", "/cpu/classes/scavenge/total:cpu-seconds"}
}

func readSchedule() schedule {
	samples := []metrics.Sample{{Name: waitMetric}, {Name: pauseMetric}}
	for _, name := range classMetrics() {
		samples = append(samples, metrics.Sample{Name: name})
	}
	metrics.Read(samples)
	s := schedule{classes: map[string]float64{}}
	for _, sample := range samples {
		switch {
		case sample.Value.Kind() == metrics.KindFloat64:
			s.classes[sample.Name] = sample.Value.Float64()
		case sample.Value.Kind() == metrics.KindFloat64Histogram:
			h := sample.Value.Float64Histogram()
			copied := histogram{append([]uint64(nil), h.Counts...), h.Buckets}
			if sample.Name == waitMetric {
				s.waits = copied
			} else {
				s.pauses = copied
			}
		}
	}
	return s
}

// since is what was counted after an earlier moment.
func (s schedule) since(before schedule) schedule {
	gained := schedule{waits: s.waits.since(before.waits), pauses: s.pauses.since(before.pauses), classes: map[string]float64{}}
	for name, value := range s.classes {
		gained.classes[name] = value - before.classes[name]
	}
	return gained
}

func (h histogram) since(before histogram) histogram {
	gained := histogram{append([]uint64(nil), h.counts...), h.bounds}
	for i := range before.counts {
		gained.counts[i] -= before.counts[i]
	}
	return gained
}

// total counts all, and quantile returns the upper bound of the range in which a share of them lies.
func (h histogram) total() (sum uint64) {
	for _, count := range h.counts {
		sum += count
	}
	return sum
}

func (h histogram) quantile(share float64) float64 {
	rest := uint64(math.Ceil(share * float64(h.total())))
	for i, count := range h.counts {
		if count >= rest {
			return h.bounds[min(i+1, len(h.bounds)-1)]
		}
		rest -= count
	}
	return 0
}

// write prints the figures.
func (s schedule) write(out io.Writer) error {
	w := &printer{out: out}
	w.line("")
	w.line("The scheduler, in a pass of its own with more profiles:")
	w.line("  %d times a goroutine waited to run (the runtime looks at one in eight): p50 %.1f us, p99 %.1f us, p99.9 %.1f us", s.waits.total(), 1e6*s.waits.quantile(0.5),
		1e6*s.waits.quantile(0.99), 1e6*s.waits.quantile(0.999))
	w.line("  %d pauses of the collector: p50 %.1f us, p99 %.1f us", s.pauses.total(), 1e6*s.pauses.quantile(0.5), 1e6*s.pauses.quantile(0.99))
	for _, name := range classMetrics() {
		w.line("  %-42s %8.2f s", name, s.classes[name])
	}
	return w.err
}
