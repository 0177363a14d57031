package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// Bench makes the run that a Config describes, which has been validated, prints progress and summary, and writes the report. Errors
// match those of benchmark.Run.
func Bench(ctx context.Context, config benchmark.Config, out io.Writer) (report *Report, err error) {
	err = benchmark.WithDirectoryOf(config.Workload, config, out, func(dir string) error {
		report, err = run(ctx, config, dir, out)
		return err
	})
	if err != nil {
		return report, err
	}
	fmt.Fprintf(out, "\n%s, medians of %d: %s\n", config.Workload, config.Repeat, &report.Median)
	report.Requirements, err = report.Median.fields().Judge(config.Require, out)
	if config.JSON != "" {
		err = errors.Join(benchmark.WriteReport(config.JSON, report), err)
	}
	return report, err
}
