package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/flotilla-raft/flotilla/nodehost"
)

const repairHelp = `Marks a replica of a stopped host so that, at its next start, it stops taking part and is rebuilt from the other hosts: as a
learner first, until it has all that it once acknowledged. What it holds is thrown away only when a quorum of the others has
admitted it anew. The directory of a running host is refused.

Exit codes: 0 the replica is marked; 1 it cannot be; 3 the command line is wrong.`

func repairCommand() *cobra.Command {
	var data string
	var shard, replica uint64
	command := &cobra.Command{
		Use: "repair --data DIR --shard N", Short: "Have a damaged replica rebuilt from the others", Long: repairHelp, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if data == "" || shard == 0 {
				return errors.New("--data and --shard: both are required, the data directory of a stopped host and the number of a shard")
			}
			marked, err := nodehost.MarkForRepair(data, nil, shard, replica)
			if err != nil {
				return failure{err}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "replica %d of shard %d will be rebuilt from the others when it is started\n", marked.ReplicaID, marked.ShardID)
			return nil
		},
	}
	command.Flags().StringVar(&data, "data", "", "data directory of a stopped host: required")
	command.Flags().Uint64Var(&shard, "shard", 0, "the shard: required")
	command.Flags().Uint64Var(&replica, "replica", 0, "the replica: 0 for the only one that the host knows")
	return command
}
