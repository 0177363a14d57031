package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/inspect"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// errDamageFound is the end of a check that found damage; the list was printed.
var errDamageFound = errors.New("damage found")

const logHelp = `Looks at the logs of stopped hosts. DIR is a host's data directory, or one that holds several. Nothing is changed;
the directory of a running host is refused.

Exit codes: 0 all is well; 1 something is damaged or cannot be read; 3 the command line is wrong.`

func logCommand() *cobra.Command {
	command := &cobra.Command{Use: "log", Short: "Look at the logs of stopped hosts", Long: logHelp, Args: cobra.NoArgs, RunE: help}
	lanes := command.PersistentFlags().StringArray("lane", nil, "a further directory of the log, once for each in their order: of a host whose log is on several devices that are not mounted where they were")
	command.AddCommand(logInspectCommand(lanes), logVerifyCommand(lanes), logDumpCommand(lanes))
	return command
}

func logInspectCommand(lanes *[]string) *cobra.Command {
	return &cobra.Command{
		Use: "inspect DIR", Short: "List shards with their ranges, terms, sizes and members, and the store's segments", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			out := cmd.OutOrStdout()
			return forEachHost(arguments[0], *lanes, func(host *nodehost.OfflineHost) error {
				replicas, err := inspect.All(cmd.Context(), host.LogDB, newProgress(cmd.ErrOrStderr(), host.Dir))
				if err != nil {
					return err
				}
				printHost(out, host)
				printReplicas(out, replicas)
				return errors.Join(printSpace(out, host), printDamage(out, replicas))
			})
		},
	}
}

func logVerifyCommand(lanes *[]string) *cobra.Command {
	return &cobra.Command{
		Use: "verify DIR", Short: "Read and check everything, and list what is damaged", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			out := cmd.OutOrStdout()
			return forEachHost(arguments[0], *lanes, func(host *nodehost.OfflineHost) error {
				replicas, err := inspect.All(cmd.Context(), host.LogDB, newProgress(cmd.ErrOrStderr(), host.Dir))
				if err != nil {
					return err
				}
				var batches, entries int
				var bytes int64
				for i := range replicas {
					batches, entries, bytes = batches+replicas[i].Batches, entries+replicas[i].Entries, bytes+replicas[i].Bytes
				}
				fmt.Fprintf(out, "%s: %d replicas, %d batches, %d entries, %d bytes read\n", host.Dir, len(replicas), batches, entries, bytes)
				return printDamage(out, replicas)
			})
		},
	}
}

func logDumpCommand(lanes *[]string) *cobra.Command {
	var shard, replica, from, to uint64
	command := &cobra.Command{
		Use: "dump DIR --shard N --from I --to J", Short: "Print entries of one shard", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			if shard == 0 {
				return errors.New("--shard: 0, want the number of a shard")
			}
			if from == 0 || to < from {
				return fmt.Errorf("--from and --to: %d and %d, want 1 or more, and no less than --from", from, to)
			}
			return forEachHost(arguments[0], *lanes, func(host *nodehost.OfflineHost) error {
				return dumpHost(cmd.Context(), cmd.OutOrStdout(), host, shard, replica, from, to)
			})
		},
	}
	command.Flags().Uint64Var(&shard, "shard", 0, "the shard: required")
	command.Flags().Uint64Var(&replica, "replica", 0, "the replica, if the host has data of several: 0 for all")
	command.Flags().Uint64Var(&from, "from", 1, "the first entry: 1 or more")
	command.Flags().Uint64Var(&to, "to", 1, "the last entry: --from or more")
	return command
}

// forEachHost opens the hosts below a directory one after the other, one host with its log in these further directories if they are named. What fails at one
// does not keep the others from being looked at.
func forEachHost(dir string, lanes []string, look func(*nodehost.OfflineHost) error) error {
	hosts, err := nodehost.FindHosts(dir, nil)
	if err != nil {
		return failure{err}
	}
	var open func(nodehost.LogDBContext) (logdb.LogDB, error) // nil: as the directory says
	if len(lanes) > 0 {
		if len(hosts) > 1 {
			return fmt.Errorf("--lane: %s holds the data of %d hosts, want that of one", dir, len(hosts))
		}
		open = nodehost.SegmentedLog(seglog.Options{Directories: lanes, SegmentBytes: seglog.MinSegmentBytes, Manual: true, Buffered: true})
	}
	var failures error
	for _, path := range hosts {
		host, err := nodehost.OpenOffline(path, nil, open)
		if err == nil {
			err = errors.Join(look(host), host.Close())
		}
		failures = errors.Join(failures, err)
	}
	if failures != nil {
		return failure{failures}
	}
	return nil
}

func dumpHost(ctx context.Context, out io.Writer, host *nodehost.OfflineHost, shard, replica, from, to uint64) error {
	keys, err := host.LogDB.List()
	if err != nil {
		return err
	}
	found := false
	for _, key := range keys {
		if key.ShardID != shard || replica != 0 && key.ReplicaID != replica {
			continue
		}
		found = true
		fmt.Fprintf(out, "%s: %s\n", host.Dir, key)
		err := inspect.Entries(ctx, host.LogDB, key, from, to, func(e inspect.Entry) bool {
			_, err := fmt.Fprintf(out, "%d\tterm %d\t%s\t%q\n", e.Index, e.Term, e.Kind, e.Command)
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%s: %w: shard %d", host.Dir, logdb.ErrNotFound, shard)
	}
	return nil
}

func printHost(out io.Writer, host *nodehost.OfflineHost) {
	fmt.Fprintf(out, "%s: host %x of deployment %q at %s, started %d times, log store %s\n", host.Dir, host.HostID, host.Deployment, host.Address,
		host.Epoch, host.LogDB.Name())
}

func printReplicas(out io.Writer, replicas []inspect.Replica) {
	fmt.Fprintf(out, "  %10s %8s %12s %12s %8s %8s %6s %12s %9s %12s  %s\n",
		"shard", "replica", "first", "last", "of term", "term", "vote", "commit", "batches", "bytes", "members")
	for i := range replicas {
		r := &replicas[i]
		if r.Unreadable {
			fmt.Fprintf(out, "  %10d %8d  damaged, see below\n", r.Key.ShardID, r.Key.ReplicaID)
			continue
		}
		s := &r.Stored
		members := "-"
		if m, ok := r.Membership(); ok {
			members = describeMembers(&m)
		}
		fmt.Fprintf(out, "  %10d %8d %12d %12d %8d %8d %6d %12d %9d %12d  %s\n", r.Key.ShardID, r.Key.ReplicaID, s.Compacted+1, s.Last,
			r.LastTerm(), s.State.Term, s.State.Vote, s.State.Commit, r.Batches, r.Bytes, members)
		if s.Installing != nil {
			fmt.Fprintf(out, "  %19s installing the snapshot up to entry %d of term %d, of replica %d\n", "",
				s.Installing.Index, s.Installing.Term, s.Installing.ReplicaID)
		}
	}
}

func describeMembers(m *raftpb.Membership) string {
	describe := func(members []raftpb.Member) string {
		var texts []string
		for i := range members {
			text := fmt.Sprintf("%d %s at %s", members[i].ReplicaID, members[i].Kind, members[i].Address)
			if members[i].Goal != raftpb.GoalStay {
				text += ", to be " + members[i].Goal.String()
			}
			texts = append(texts, text)
		}
		return strings.Join(texts, "; ")
	}
	if m.Joint() {
		return describe(m.Members) + " (together with " + describe(m.Outgoing) + ")"
	}
	return describe(m.Members)
}

// printDamage lists what is wrong; the error says how much.
func printDamage(out io.Writer, replicas []inspect.Replica) error {
	damaged := 0
	for i := range replicas {
		for _, err := range replicas[i].Damage {
			damaged++
			fmt.Fprintf(out, "DAMAGED  %v\n", err)
		}
	}
	if damaged == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d faults", errDamageFound, damaged)
}

// newProgress returns a progress bar for a terminal, nil for anything else.
func newProgress(errOut io.Writer, dir string) inspect.Progress {
	if !isTerminal(errOut) {
		return nil
	}
	return progressBar(errOut, dir, time.Now)
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

const (
	barWidth    = 30
	barInterval = 100 * time.Millisecond
)

// progressBar redraws one line, at most ten times a second, and ends it when all is done.
func progressBar(out io.Writer, dir string, now func() time.Time) inspect.Progress {
	var drawn time.Time
	return func(replicas, of int, bytes int64) {
		done := replicas == of
		at := now()
		if !done && at.Sub(drawn) < barInterval {
			return
		}
		drawn = at
		filled := barWidth * replicas / max(1, of)
		fmt.Fprintf(out, "\r%s [%s%s] %d of %d replicas, %.1f MB", dir, strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled),
			replicas, of, float64(bytes)/1e6)
		if done {
			fmt.Fprintln(out)
		}
	}
}
