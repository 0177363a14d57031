package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/flotilla-raft/flotilla/benchmark"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes, the same as those of the command flotilla.
const (
	exitFailed        = 1
	exitNotComparable = 2
	exitUsage         = 3
)

// failure is an error of the work itself, not of the command line.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// run executes one command line and returns the exit code.
func run(ctx context.Context, arguments []string, out, errOut io.Writer) int {
	root := &cobra.Command{
		Use:           "peers",
		Short:         "Flotilla beside other engines and beside the limit",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(benchCommand(), compareCommand(), pageCommand(), profileCommand(), refusalCommand())
	root.SetArgs(arguments)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(errOut, "peers:", err)
	}
	var failed failure
	switch {
	case err == nil:
		return 0
	case errors.Is(err, benchmark.ErrNotComparable):
		return exitNotComparable
	case errors.Is(err, benchmark.ErrConfig), !errors.As(err, &failed):
		return exitUsage
	default:
		return exitFailed
	}
}

// benchCommand runs the harness in this process, with every engine there is.
func benchCommand() *cobra.Command {
	known := engines()
	config := benchmark.DefaultConfig(known[0].Name)
	flags := benchmark.NewFlags(&config, known)
	command := &cobra.Command{
		Use:   "bench",
		Short: "Run the steady workload of the harness on any of the engines",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.Err(); err != nil {
				return failure{err}
			}
			if _, err := benchmark.Run(cmd.Context(), config, known, cmd.OutOrStdout()); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	command.Flags().SortFlags = false
	for _, flag := range flags.List {
		bound := command.Flags().VarPF(flag, flag.Name, "", flag.Usage+": "+flag.Accepts)
		if flag.Switch {
			bound.NoOptDefVal = "true"
		}
		bound.Hidden = flag.Hidden
	}
	return command
}
