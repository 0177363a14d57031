package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, arguments []string, out, errOut io.Writer) int {
	root := &cobra.Command{
		Use:           "flotilla",
		Short:         "A multi-group Raft engine",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(versionCommand(), benchCommand(), failoverHostCommand(), fillCommand(), simCommand(), logCommand(), repairCommand(),
		snapshotCommand(), recoverCommand())
	root.SetArgs(arguments)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(errOut, "flotilla:", strings.TrimPrefix(err.Error(), "flotilla: ")) // as the errors of the API begin themselves
	}
	return exitCode(err)
}

// help is what a command does that only has others below it. Without it a word that names none of them would be help, too, and end with 0.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }
