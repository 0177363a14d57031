package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/flotilla"
	"github.com/flotilla-raft/flotilla/benchmark/limit"
	"github.com/flotilla-raft/flotilla/benchmark/sessions"
	"github.com/flotilla-raft/flotilla/benchmark/slowfollower"
	"github.com/flotilla-raft/flotilla/benchmark/snapshots"
)

// engines lists what --engine can name; the first is the default.
func engines() []benchmark.Engine {
	return []benchmark.Engine{flotilla.Engine(), limit.Engine()}
}

const benchHelp = `Runs hosts in this process that replicate shards to each other, keeps a fixed number of requests in flight, and prints
rates and latencies each second and a summary at the end. Then all replicas of a shard must agree, and every acknowledged
command must be in exactly once.

Several engines take turns and are compared:

  flotilla bench --engine A,B --repeat 3 --require 'writes_per_second>=0.25*B' --require 'errors==0'

With --workload sessions the same runs with every write a call of a client session, 200 in flight to a session, and without, in turns:

  flotilla bench --workload sessions --repeat 3 --require 'sessions.rate_ratio>=0.75'

With --workload failover each host is a process of its own; one is closed, then another killed, and what counts is how long the shards
that it led take no writes, against the floor that the election timeouts give (--in-flight is 432 then):

  flotilla bench --workload failover --require 'kill.median_ms<=1.1*floor' --require 'kill.max_ms<=1.5*floor'

With --workload slow-follower one host hears nothing for --duration under full load, and then catches up:

  flotilla bench --workload slow-follower --duration 30s --require 'stopped.rate_ratio>=0.9' \
    --require 'catch_up.log_reads_elsewhere==0' --require 'catch_up.leader_changes==0'

With --workload append and --workload open log stores are measured alone, all of them side by side; requirements are held against the one
that --logdb names. Appending is compared with the best that one goroutine gets out of the disk with the same bytes per sync, and, with a
--duration of a second or more, it is measured what reaches the device and stays on it when 1,000 shards append and compact; opening begins
with a cold page cache, after a clean close and after SIGKILL (--shards is 10000 then, and --log-mib how much log there is):

  flotilla bench --workload append --logdb seglog --require 'append.64x16.ratio>=0.95'

With --workload restart a host is started whose shard has --entries commands behind its snapshot; what counts is the time from New to the
first linearizable read. With --workload snapshot the leader of a shard with --state-mib of state takes a snapshot under load:

  flotilla bench --workload restart --require 'restart.read_s<=0.3'
  flotilla bench --workload stream --state-mib 512 --require 'stream.memory_ratio>=0.6' --require 'stream.p99_ratio<=1.5'
  flotilla bench --workload snapshot --hosts 1 --require 'snapshot.rate_ratio>=0.8' --require 'snapshot.pause_ms<=5'

Exit codes: 0 all is well; 1 a run, the end check or a requirement failed; 2 the machine changed too much between the engines
for a comparison; 3 a flag is wrong.`

func benchCommand() *cobra.Command {
	known := engines()
	config := benchmark.DefaultConfig(known[0].Name)
	flags := benchmark.NewFlags(&config, known)
	command := &cobra.Command{
		Use:   "bench",
		Short: "Run the multi-shard benchmark",
		Long:  benchHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.Err(); err != nil {
				return failure{err}
			}
			if config.Workload == benchmark.WorkloadFailover {
				return benchFailover(cmd, config)
			}
			if config.Workload == benchmark.WorkloadAppend || config.Workload == benchmark.WorkloadOpen {
				return benchLogStores(cmd, config)
			}
			if config.Workload == benchmark.WorkloadSlowFollower {
				if _, err := slowfollower.Bench(cmd.Context(), config, cmd.OutOrStdout()); err != nil {
					return failure{err}
				}
				return nil
			}
			if config.Workload == benchmark.WorkloadRestart || config.Workload == benchmark.WorkloadSnapshot || config.Workload == benchmark.WorkloadStream {
				if _, err := snapshots.Bench(cmd.Context(), config, cmd.OutOrStdout()); err != nil {
					return failure{err}
				}
				return nil
			}
			if config.Workload == benchmark.WorkloadSessions {
				if _, err := sessions.Bench(cmd.Context(), config, cmd.OutOrStdout()); err != nil {
					return failure{err}
				}
				return nil
			}
			if _, err := benchmark.Run(cmd.Context(), config, known, cmd.OutOrStdout()); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	command.Flags().SortFlags = false
	for _, flag := range flags.List {
		bound := command.Flags().VarPF(flag, flag.Name, "", usage(flag))
		if flag.Switch {
			bound.NoOptDefVal = "true"
		}
		bound.Hidden = flag.Hidden
	}
	return command
}

func usage(flag *benchmark.Flag) string {
	return strings.TrimSpace(flag.Usage + ": " + flag.Accepts)
}
