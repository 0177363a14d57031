package slowfollower

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// Bench makes the run that a Config describes, which has been validated, prints progress and summary, and writes the report. Errors
// match those of benchmark.Run.
func Bench(ctx context.Context, config benchmark.Config, out io.Writer) (report *Report, err error) {
	err = benchmark.WithDirectory(config, out, func(path string) error {
		dir := filepath.Join(path, "slow-follower")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("slowfollower: data directory (is it left from an earlier run with --keep?): %w", err)
		}
		if !config.Keep {
			defer func() { _ = os.RemoveAll(dir) }() // the directory itself is refused if it is not empty
		}
		report, err = Run(ctx, Options{
			Hosts: config.Hosts, Shards: config.Shards, Payload: config.Payload, InFlight: config.InFlight, Repeat: config.Repeat,
			LogDB: config.LogDB, Warmup: config.Warmup, Duration: config.Duration, Data: dir,
		}, out)
		return err
	})
	if err != nil {
		return report, err
	}
	fmt.Fprintf(out, "\nslow follower: %d hosts, %d shards, %d in flight, medians of %d\n%s\n", config.Hosts, config.Shards, config.InFlight,
		config.Repeat, &report.Median)
	err = report.judge(config.Require, out)
	if config.JSON != "" {
		err = errors.Join(report.write(config.JSON), err)
	}
	return report, err
}

// judge holds the requirements against the medians and prints each.
func (r *Report) judge(requirements []benchmark.Requirement, out io.Writer) (err error) {
	fields := r.Median.fields()
	r.Requirements, err = benchmark.JudgeAll(requirements, func(requirement benchmark.Requirement) (value, right float64, err error) {
		return *fields[requirement.Metric], 1, nil
	}, out)
	return err
}
