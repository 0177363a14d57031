// Command flotilla measures the engine and tells its version.
//
//	flotilla bench     run the multi-shard benchmark; see flotilla bench --help
//	flotilla version   print version and platform
//
// Exit codes:
//
//	0  all is well
//	1  something failed: a start, the end check (a lost, doubled or differing command), or a requirement
//	2  the machine changed so much between two engines that they may not be compared
//	3  a flag, argument or command is wrong; nothing was started
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
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
	root.AddCommand(versionCommand(), benchCommand())
	root.SetArgs(arguments)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(errOut, "flotilla:", err)
	}
	return exitCode(err)
}
