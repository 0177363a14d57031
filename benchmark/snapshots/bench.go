package snapshots

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
		dir := filepath.Join(path, config.Workload)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("snapshots: data directory (is it left from an earlier run with --keep?): %w", err)
		}
		if !config.Keep {
			defer func() { _ = os.RemoveAll(dir) }() // the directory itself is refused if it is not empty
		}
		report, err = run(ctx, config, dir, out)
		return err
	})
	if err != nil {
		return report, err
	}
	fmt.Fprintf(out, "\n%s, medians of %d: %s\n", config.Workload, config.Repeat, &report.Median)
	fields := report.Median.fields()
	report.Requirements, err = benchmark.JudgeAll(config.Require, func(requirement benchmark.Requirement) (value, right float64, err error) {
		return *fields[requirement.Metric], 1, nil
	}, out)
	if config.JSON != "" {
		err = errors.Join(report.write(config.JSON), err)
	}
	return report, err
}
