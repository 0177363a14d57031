package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// DefaultInFlight is what the command line takes unless told otherwise: three clients of each shard on each of three hosts.
const DefaultInFlight = 432

// Verdict is a requirement held against the figures.
type Verdict = benchmark.Verdict

// Bench makes the run that a Config describes, which has been validated, prints progress and summary, and writes the report.
// program is how a host process is started. Errors match those of benchmark.Run.
func Bench(ctx context.Context, config benchmark.Config, program []string, out io.Writer) (report *Report, err error) {
	err = benchmark.WithDirectoryOf("failover", config, out, func(dir string) error {
		report, err = Run(ctx, Options{
			Hosts: config.Hosts, Shards: config.Shards, Payload: config.Payload, InFlight: config.InFlight, Repeat: config.Repeat,
			ElectionTimeout: config.ElectionTimeout, Warmup: config.Warmup, Data: dir, Program: program,
		}, out)
		return err
	})
	if err != nil {
		return report, err
	}
	report.print(out)
	err = report.judge(config.Require, out)
	if config.JSON != "" {
		err = errors.Join(benchmark.WriteReport(config.JSON, report), err)
	}
	return report, err
}

func (r *Report) print(out io.Writer) {
	o := &r.Options
	fmt.Fprintf(out, "\nfailover: %d hosts, %d shards, %d in flight, election timeout %v to %v, %d repeats pooled\n",
		o.Hosts, o.Shards, o.InFlight, o.ElectionTimeout, 2*o.ElectionTimeout, o.Repeat)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tshards\tmedian ms\t/ floor\tmax ms\t/ floor\tothers' gap ms\tbefore\tunrecovered\t")
	for i := range r.Figures {
		f := &r.Figures[i]
		fmt.Fprintf(table, "%s\t%d\t%.0f\t%.2f\t%.0f\t%.2f\t%.0f\t%.0f\t%d\t\n", f.Name, f.Shards, f.MedianMS, f.MedianMS/f.FloorMedianMS,
			f.MaxMS, f.MaxMS/f.FloorMaxMS, f.OthersGapMS, f.CalmGapMS, f.Unrecovered)
		if i == len(r.Figures)-1 {
			fmt.Fprintf(table, "floor\t%d\t%.0f\t\t%.0f\t\t\t\t\t\n", f.Shards, f.FloorMedianMS, f.FloorMaxMS)
		}
	}
	_ = table.Flush() // the summary is for a reader; a closed output shows itself
}

// judge holds the requirements against the figures and prints each.
func (r *Report) judge(requirements []benchmark.Requirement, out io.Writer) (err error) {
	r.Requirements, err = benchmark.JudgeAll(requirements, func(requirement benchmark.Requirement) (value, right float64, err error) {
		figure, floor := r.figure(requirement.Metric)
		if requirement.Engine != benchmark.Floor {
			floor = 1
		}
		return figure, floor, nil
	}, out)
	return err
}

// figure finds a figure by its name in requirements, and its floor if it has one.
func (r *Report) figure(metric string) (value, floor float64) {
	name, what, _ := strings.Cut(metric, ".")
	for i := range r.Figures {
		f := &r.Figures[i]
		if f.Name != name {
			continue
		}
		switch what {
		case "median_ms":
			return f.MedianMS, f.FloorMedianMS
		case "max_ms":
			return f.MaxMS, f.FloorMaxMS
		case "others_gap_ms":
			return f.OthersGapMS, 0
		case "unrecovered":
			return float64(f.Unrecovered), 0
		}
	}
	return 0, 0
}
