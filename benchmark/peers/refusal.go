package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/flotilla"
	"github.com/flotilla-raft/flotilla/benchmark/peers/comparison"
)

// refusalCommand measures a refusal, and reports it in the form of the harness.
func refusalCommand() *cobra.Command {
	var data, report string
	command := &cobra.Command{
		Use:   "refusal",
		Short: "Measure what Flotilla's refusal of a proposal costs under overload",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := benchmark.WithDirectory(benchmark.Config{Data: data}, cmd.OutOrStdout(), func(path string) error {
				host := filepath.Join(path, "refusing-host")
				nanoseconds, allocs, err := flotilla.Refusal(cmd.Context(), host)
				if err = errors.Join(err, os.RemoveAll(host)); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%.3g ns and %.3g allocations a refusal\n", nanoseconds, allocs)
				if report == "" {
					return nil
				}
				result := benchmark.Result{Engine: comparison.Flotilla, RefusalNanoseconds: nanoseconds, RefusalAllocs: allocs}
				text, err := json.Marshal(benchmark.Report{Repeats: []benchmark.Result{result}, Median: result})
				if err != nil {
					return err
				}
				return os.WriteFile(report, text, 0o644)
			})
			if err != nil {
				return failure{err}
			}
			return nil
		},
	}
	command.Flags().StringVar(&data, "data", "", "directory for the host's data (default: a fresh temporary one on a disk)")
	command.Flags().StringVar(&report, "json", "", "file for the report")
	return command
}
