package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/failover"
)

// failoverHost is the command that the failover workload starts its host processes with: this very program.
const failoverHost = "failover-host"

func benchFailover(cmd *cobra.Command, config benchmark.Config) error {
	if !cmd.Flags().Changed("in-flight") {
		config.InFlight = failover.DefaultInFlight
	}
	program, err := os.Executable()
	if err != nil {
		return failure{fmt.Errorf("find this program: %w", err)}
	}
	if _, err := failover.Bench(cmd.Context(), config, []string{program, failoverHost}, cmd.OutOrStdout()); err != nil {
		return failure{err}
	}
	return nil
}

func failoverHostCommand() *cobra.Command {
	return &cobra.Command{
		Use:    failoverHost + " OPTIONS",
		Short:  "One host of bench --workload failover",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(cmd *cobra.Command, arguments []string) error {
			if err := failover.RunHost(cmd.Context(), arguments[0], cmd.InOrStdin(), cmd.OutOrStdout()); err != nil {
				return failure{err}
			}
			return nil
		},
	}
}
