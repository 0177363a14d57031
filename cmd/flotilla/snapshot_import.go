package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-raft/flotilla/nodehost"
)

const snapshotImportHelp = `Begins a shard anew from an exported snapshot, on a stopped host. Run it on every member with the same file, the same --members and the same
--recovery, then start the hosts; other replicas are added later. Whatever was decided after the snapshot is gone.

A host that has state of the shard is refused; --force throws that state away. The import happens as a whole or not at all, also when the
machine stops in the middle.

Exit codes: 0 the snapshot is imported; 1 it is not, and nothing was changed, unless it says that the import will be finished at the next
start; 3 the command line is wrong.`

func snapshotImportCommand() *cobra.Command {
	var options nodehost.ImportOptions
	var members string
	command := &cobra.Command{
		Use: "import --data DIR --shard N --replica R --members id=addr,... FILE", Short: "Begin a shard anew from a snapshot file", Long: snapshotImportHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) (err error) {
			if options.Dir == "" || options.ShardID == 0 || options.ReplicaID == 0 || members == "" {
				return fmt.Errorf("--data, --shard, --replica and --members: all of them are required")
			}
			if options.Members, err = parseMembers(members); err != nil {
				return fmt.Errorf("--members: %w", err)
			}
			if len(options.Members) > 1 && options.Recovery == 0 {
				return fmt.Errorf("--recovery: with several members a number is required, the same for all of them, and another one each time")
			}
			options.File = arguments[0]
			if errOut := cmd.ErrOrStderr(); isTerminal(errOut) {
				var bar func(uint64)
				options.Progress = func(bytes, of uint64) {
					if bar == nil {
						bar = bytesBar(errOut, options.File, of, time.Now)
					}
					bar(bytes)
				}
			}
			imported, err := nodehost.ImportSnapshot(options)
			if err != nil {
				return failure{err}
			}
			out := cmd.OutOrStdout()
			for _, name := range imported.ThrownAway {
				fmt.Fprintf(out, "thrown away: replica %d of shard %d\n", name.ReplicaID, name.ShardID)
			}
			fmt.Fprintf(out, "replica %d of shard %d begins anew behind entry %d, with the members %s; recovery %d\n", options.ReplicaID, options.ShardID,
				imported.Summary.Meta.Index, describeMembers(&imported.Config), imported.Recovery)
			return nil
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Dir, "data", "", "data directory of a stopped host: required")
	flags.Uint64Var(&options.ShardID, "shard", 0, "the shard: required")
	flags.Uint64Var(&options.ReplicaID, "replica", 0, "the replica on this host: required")
	flags.StringVar(&members, "members", "", "the voters with which the shard begins, as 1=host:port,2=host:port: required")
	flags.Uint64Var(&options.Recovery, "recovery", 0, "a number for this recovery, the same on all members: required for more than one")
	flags.BoolVar(&options.Force, "force", false, "throw away what the host has of the shard")
	flags.StringVar(&options.Address, "address", "", "address of the host, if the directory holds no host's data yet: it is made then")
	flags.StringVar(&options.Deployment, "deployment", "", "deployment of the host, if the directory is made")
	return command
}

// parseMembers reads 1=host:port,2=host:port.
func parseMembers(text string) (map[uint64]string, error) {
	members := make(map[uint64]string)
	for part := range strings.SplitSeq(text, ",") {
		number, address, found := strings.Cut(part, "=")
		id, err := strconv.ParseUint(number, 10, 64)
		if !found || err != nil || id == 0 || address == "" {
			return nil, fmt.Errorf("%q, want the number of a replica, =, and its address", part)
		}
		if members[id] != "" {
			return nil, fmt.Errorf("replica %d is there twice", id)
		}
		members[id] = address
	}
	return members, nil
}
