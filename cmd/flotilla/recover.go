package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/flotilla-raft/flotilla/nodehost"
)

const recoverHelp = `Rebuilds a shard that has lost its quorum for good, from the log and state of one survivor on a stopped host. The survivor becomes the only
member; start it, then add replicas under new numbers. Entries that only the lost replicas had are gone. Where several hosts survive, take
the one whose log has the highest last term, and of those the longest one (flotilla log inspect), and remove the data of the others before they start.
From an exported snapshot a shard is rebuilt with flotilla snapshot import.

The hosts of the other members are asked whether they are there. If one answers or could not be asked the shard is not recovered; --force goes on
nevertheless, at the risk that is named. A lost replica that comes back and reaches the shard is told that it was removed. Lost replicas that were a quorum
and reach each other but not the shard would go on as what they were: do not start them.

Exit codes: 0 the shard is recovered; 1 it is not, and nothing was changed; 3 the command line is wrong.`

func recoverCommand() *cobra.Command {
	var options nodehost.RecoverOptions
	command := &cobra.Command{
		Use: "recover --data DIR --shard N", Short: "Rebuild a shard that lost its quorum from a survivor", Long: recoverHelp, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if options.Dir == "" || options.ShardID == 0 {
				return errors.New("--data and --shard: both are required, the data directory of a stopped host and the number of a shard")
			}
			recovered, err := nodehost.RecoverShard(cmd.Context(), options)
			if err != nil {
				return failure{err}
			}
			printRecovered(cmd.OutOrStdout(), &recovered)
			return nil
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Dir, "data", "", "data directory of a stopped host: required")
	flags.Uint64Var(&options.ShardID, "shard", 0, "the shard: required")
	flags.Uint64Var(&options.ReplicaID, "replica", 0, "the survivor: 0 for the only replica of the shard that the host has")
	flags.BoolVar(&options.Force, "force", false, "recover although a member answers, could not be asked, the survivor lost something, or has no whole snapshot")
	return command
}

func printRecovered(out io.Writer, r *nodehost.Recovered) {
	fmt.Fprintf(out, "shard %d goes on with replica %d alone, behind entry %d of term %d; it knew of decisions up to entry %d\n", r.Replica.ShardID,
		r.Replica.ReplicaID, r.Last, r.Term, r.Committed)
	for i := range r.Asked {
		said := "answers"
		if r.Asked[i].Answer != nil {
			said = r.Asked[i].Answer.Error()
		}
		fmt.Fprintf(out, "  no member any more: replica %d at %s (%s)\n", r.Asked[i].Member.ReplicaID, r.Asked[i].Member.Address, said)
	}
}
