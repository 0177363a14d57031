package slowfollower

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
	err = benchmark.WithDirectoryOf("slow-follower", config, out, func(dir string) error {
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
	report.Requirements, err = report.Median.fields().Judge(config.Require, out)
	if config.JSON != "" {
		err = errors.Join(benchmark.WriteReport(config.JSON, report), err)
	}
	return report, err
}
