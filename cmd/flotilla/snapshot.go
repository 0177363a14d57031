package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

const snapshotHelp = `Looks at snapshot files, and begins shards with them. docs/operations.md says how shards are backed up and restored.

Exit codes: 0 all is well; 1 a file is damaged, or cannot be used; 3 the command line is wrong.`

func snapshotCommand() *cobra.Command {
	command := &cobra.Command{Use: "snapshot", Short: "Check snapshot files, and restore shards from them", Long: snapshotHelp, Args: cobra.NoArgs, RunE: help}
	command.AddCommand(snapshotVerifyCommand(), snapshotImportCommand())
	return command
}

func snapshotVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify FILE", Short: "Read and check every byte of a snapshot file", Args: cobra.ExactArgs(1),
		Long: `Reads a snapshot file to its end, checks every block and the digest of the whole, and prints what it holds. What is wrong is told with
file, block and reason.

Exit codes: 0 the file is whole; 1 it is not, or cannot be read; 3 the command line is wrong.`,
		RunE: func(cmd *cobra.Command, arguments []string) error {
			summary, err := verifySnapshot(arguments[0], cmd.ErrOrStderr())
			if err != nil {
				return failure{fmt.Errorf("%s: %w", arguments[0], err)}
			}
			printSnapshot(cmd.OutOrStdout(), arguments[0], &summary)
			return nil
		},
	}
}

// verifySnapshot reads a file to its end.
func verifySnapshot(path string, errOut io.Writer) (summary snapshot.Summary, err error) {
	file, err := os.Open(path)
	if err != nil {
		return summary, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return summary, err
	}
	var progress func(uint64)
	if isTerminal(errOut) {
		progress = bytesBar(errOut, path, uint64(info.Size()), time.Now)
	}
	summary, err = snapshot.Verify(file, progress)
	if err != nil {
		return summary, err
	}
	if summary.Bytes != uint64(info.Size()) {
		return summary, fmt.Errorf("%w: bytes behind the footer, at byte %d", snapshot.ErrDamaged, summary.Bytes)
	}
	if progress != nil {
		progress(summary.Bytes)
	}
	return summary, nil
}

// bytesBar redraws one line, at most ten times a second, and ends it when all is done.
func bytesBar(out io.Writer, what string, of uint64, now func() time.Time) func(uint64) {
	var drawn time.Time
	ended := false
	return func(bytes uint64) {
		at := now()
		if ended || bytes < of && at.Sub(drawn) < barInterval {
			return
		}
		drawn, ended = at, bytes >= of
		filled := int(min(barWidth, barWidth*bytes/max(1, of)))
		fmt.Fprintf(out, "\r%s [%s%s] %.1f of %.1f MB", what, strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled),
			float64(bytes)/1e6, float64(of)/1e6)
		if ended {
			fmt.Fprintln(out)
		}
	}
}

func printSnapshot(out io.Writer, path string, s *snapshot.Summary) {
	fmt.Fprintf(out, "%s: shard %d up to entry %d of term %d, taken by replica %d\n", path, s.Meta.ShardID, s.Meta.Index, s.Meta.Term, s.Meta.ReplicaID)
	fmt.Fprintf(out, "  state machine %s, its version %d; %d blocks, %d bytes, %d bytes of state\n", kindName(s.Meta.Kind), s.Meta.StateVersion,
		s.Blocks, s.Bytes, s.PlainBytes)
	fmt.Fprintf(out, "  members since entry %d: %s\n", s.Meta.Config.Index, describeMembers(&s.Meta.Config.Membership))
	fmt.Fprintf(out, "  digest  %x\n", s.Digest)
}

func kindName(kind raftpb.SnapshotKind) string {
	switch kind {
	case raftpb.SnapshotDisk:
		return "on disk"
	case raftpb.SnapshotWitness:
		return "of a witness"
	}
	return "in memory"
}
