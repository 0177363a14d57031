package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-raft/flotilla/benchmark/peers/comparison"
	"github.com/flotilla-raft/flotilla/benchmark/peers/profiling"
)

const profileHelp = `Runs one case of the comparison with Flotilla twice and writes profiles of exactly what was measured into --out: CPU and
allocations from the first pass; mutexes, blocking and a second of execution trace from the second. Prints a breakdown of the CPU time by
the parts of the engine (breakdown.txt), and fails if more than 5 % of it belongs to none.`

// profileCommand takes the profiles of one case.
func profileCommand() *cobra.Command {
	var row, subject, out, data string
	var duration time.Duration
	var offered float64
	command := &cobra.Command{
		Use:   "profile",
		Short: "Find out where the time of a row goes",
		Long:  profileHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := comparison.ConfigOf(row, subject)
			if err != nil {
				return err
			}
			config.Duration, config.Data = duration, data
			if offered > 0 {
				config.Offered, config.InFlight = offered, comparison.OverloadClients
			}
			if out == "" {
				out = filepath.Join("bin", "profile", strings.ReplaceAll(strings.ReplaceAll(row, "/", "-"), " ", ""))
			}
			if err := profiling.Record(cmd.Context(), config, engines(), out, cmd.OutOrStdout()); err != nil {
				return failure{fmt.Errorf("profile %s: %w", row, err)}
			}
			return nil
		},
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&row, "row", "P1", "row, or case, as \"P6/1 KiB\"; of a row the first case")
	flags.StringVar(&subject, "subject", comparison.Flotilla, "who is measured")
	flags.Float64Var(&offered, "offered", 0, "an open loop of so many writes a second in place of the closed one")
	flags.DurationVar(&duration, "duration", 10*time.Second, "what is measured of each pass")
	flags.StringVar(&out, "out", "", "directory for the profiles (default: bin/profile/ROW)")
	flags.StringVar(&data, "data", "", "directory for the hosts' data (default: a fresh temporary one on a disk)")
	return command
}
