package sessions

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/flotilla"
)

// Figures are what one pair of runs found, or the medians of several, figure by figure.
type Figures struct {
	// With and Without are acknowledged writes in a second, RateRatio the first over the second.
	With      float64 `json:"writes_per_second"`
	Without   float64 `json:"without_writes_per_second"`
	RateRatio float64 `json:"rate_ratio"`
	// CPURatio is the processor time of an operation with sessions over that of one without, P50Ratio the same of the median latency.
	CPURatio float64 `json:"cpu_ratio"`
	P50Ratio float64 `json:"p50_ratio"`
	// Errors are those of both.
	Errors float64 `json:"errors"`
}

// fields are the figures by the names that requirements have for them, in benchmark.SessionMetrics.
func (f *Figures) fields() benchmark.Fields {
	return benchmark.Fields{
		"sessions.writes_per_second": &f.With, "sessions.without_writes_per_second": &f.Without, "sessions.rate_ratio": &f.RateRatio,
		"sessions.cpu_ratio": &f.CPURatio, "sessions.p50_ratio": &f.P50Ratio, "sessions.errors": &f.Errors,
	}
}

// String is a line for a reader.
func (f *Figures) String() string {
	return fmt.Sprintf("%.0f writes/s with sessions, %.0f without (%.3f); processor time of an operation %.2f times as much, median latency %.2f times",
		f.With, f.Without, f.RateRatio, f.CPURatio, f.P50Ratio)
}

// Report is what a run found. It is what --json writes.
type Report struct {
	Workload     string              `json:"workload"`
	Runs         *benchmark.Report   `json:"runs"`
	Repeats      []Figures           `json:"repeats"`
	Median       Figures             `json:"median"`
	Requirements []benchmark.Verdict `json:"requirements,omitempty"`
}

// Bench makes the run that a Config describes, which has been validated, prints progress and summary, and writes the report. Errors
// match those of benchmark.Run.
func Bench(ctx context.Context, config benchmark.Config, out io.Writer) (*Report, error) {
	steady := config
	steady.Workload, steady.Engines = benchmark.WorkloadSteady, []string{flotilla.SessionsName, flotilla.Engine().Name}
	steady.JSON, steady.Require = "", nil
	runs, err := benchmark.Run(ctx, steady, []benchmark.Engine{flotilla.SessionsEngine(), flotilla.Engine()}, out)
	report := &Report{Workload: config.Workload, Runs: runs}
	if err != nil && !errors.Is(err, benchmark.ErrNotComparable) {
		return report, err
	}
	report.conclude()
	fmt.Fprintf(out, "\nsessions, medians of %d: %s\n", len(report.Repeats), &report.Median)
	var missed error
	report.Requirements, missed = report.Median.fields().Judge(config.Require, out)
	if config.JSON != "" {
		missed = errors.Join(missed, benchmark.WriteReport(config.JSON, report))
	}
	if missed != nil {
		return report, missed
	}
	return report, err
}

// conclude compares each run with sessions with the one after it, which has none.
func (r *Report) conclude() {
	var all []benchmark.Fields
	for i := 0; i+1 < len(r.Runs.Repeats); i += 2 {
		r.Repeats = append(r.Repeats, compare(&r.Runs.Repeats[i], &r.Runs.Repeats[i+1]))
	}
	for i := range r.Repeats {
		all = append(all, r.Repeats[i].fields())
	}
	r.Median.fields().TakeMedians(all)
}

func compare(with, without *benchmark.Result) Figures {
	f := Figures{With: with.WritesPerSecond, Without: without.WritesPerSecond, Errors: with.Errors + without.Errors}
	f.RateRatio = ratio(f.With, f.Without)
	f.CPURatio = ratio(with.CPUSecondsPerMillion, without.CPUSecondsPerMillion)
	f.P50Ratio = ratio(with.WriteLatency.P50, without.WriteLatency.P50)
	return f
}

func ratio(value, of float64) float64 {
	if of == 0 {
		return 0
	}
	return value / of
}
