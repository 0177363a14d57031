package slowfollower

import (
	"fmt"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// Figures are what one repeat found, or the medians of several, figure by figure. Rates are acknowledged commands in a second.
type Figures struct {
	Before  float64 `json:"before_writes_per_second"`
	Stopped float64 `json:"stopped_writes_per_second"`
	// StoppedRatio is Stopped / Before.
	StoppedRatio float64 `json:"stopped_rate_ratio"`
	// Busy and Errors count what was refused as busy, and what failed otherwise, while the follower was stopped.
	Busy   float64 `json:"stopped_busy"`
	Errors float64 `json:"stopped_errors"`
	// HeapGrowthMiB is by how much what is in use grew in that time, of all hosts together.
	HeapGrowthMiB float64 `json:"stopped_heap_growth_mib"`
	// Behind is how many commands the follower lacked at its end, CatchUpSeconds how long it took to apply them, and CatchUp the
	// others' rate meanwhile.
	Behind         float64 `json:"catch_up_commands"`
	CatchUpSeconds float64 `json:"catch_up_seconds"`
	CatchUp        float64 `json:"catch_up_writes_per_second"`
	// LogReads are those of the log readers in that time, LogReadsElsewhere all others since the start.
	LogReads          float64 `json:"catch_up_log_reads"`
	LogReadsElsewhere float64 `json:"log_reads_elsewhere"`
	// LeaderChanges are those since the follower was stopped.
	LeaderChanges float64 `json:"leader_changes"`
}

// fields are the figures by the names that requirements have for them, in benchmark.SlowFollowerMetrics.
func (f *Figures) fields() benchmark.Fields {
	return benchmark.Fields{
		"before.writes_per_second": &f.Before, "stopped.writes_per_second": &f.Stopped, "stopped.rate_ratio": &f.StoppedRatio,
		"stopped.busy": &f.Busy, "stopped.errors": &f.Errors, "stopped.heap_growth_mib": &f.HeapGrowthMiB,
		"catch_up.commands": &f.Behind, "catch_up.seconds": &f.CatchUpSeconds, "catch_up.writes_per_second": &f.CatchUp,
		"catch_up.log_reads": &f.LogReads, "catch_up.log_reads_elsewhere": &f.LogReadsElsewhere, "catch_up.leader_changes": &f.LeaderChanges,
	}
}

// String is a few lines for a reader.
func (f *Figures) String() string {
	return fmt.Sprintf("before    %.0f writes/s\nstopped   %.0f writes/s (%.2f of before), busy %.0f, errors %.0f, heap %+.1f MiB\n"+
		"catch-up  %.0f commands in %.2f s, %.0f writes/s meanwhile, %.0f log reads, %.0f of them outside the log reader; %.0f leader changes",
		f.Before, f.Stopped, f.StoppedRatio, f.Busy, f.Errors, f.HeapGrowthMiB, f.Behind, f.CatchUpSeconds, f.CatchUp, f.LogReads,
		f.LogReadsElsewhere, f.LeaderChanges)
}

// Report is what a run found. It is what --json writes.
type Report struct {
	Options      Options             `json:"options"`
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
