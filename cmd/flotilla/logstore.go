package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/logstore"
)

// fillStore is the command that the open workload fills a store with: this very program.
const fillStore = "fill-log-store"

func benchLogStores(cmd *cobra.Command, config benchmark.Config) error {
	if config.Workload == benchmark.WorkloadOpen {
		if !cmd.Flags().Changed("shards") {
			config.Shards = logstore.DefaultOpenShards
		}
	} else if !cmd.Flags().Changed("duration") {
		config.Duration = logstore.DefaultAppendDuration
	}
	program, err := os.Executable()
	if err != nil {
		return failure{fmt.Errorf("find this program: %w", err)}
	}
	if _, err := logstore.Bench(cmd.Context(), config, []string{program, fillStore}, cmd.OutOrStdout()); err != nil {
		return failure{err}
	}
	return nil
}

func fillCommand() *cobra.Command {
	return &cobra.Command{
		Use:    fillStore + " ORDER",
		Short:  "Fill a log store for bench --workload open",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(cmd *cobra.Command, arguments []string) error {
			var order logstore.FillOrder
			if err := json.Unmarshal([]byte(arguments[0]), &order); err != nil {
				return fmt.Errorf("ORDER: %w", err)
			}
			if err := order.Run(cmd.Context(), cmd.OutOrStdout()); err != nil {
				return failure{err}
			}
			return nil
		},
	}
}
