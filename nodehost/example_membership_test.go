package nodehost_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

func newCounter(shardID, replicaID uint64) (rsm.StateMachine, error) { return &counter{}, nil }

// startFleet starts a host for each address, as the hosts 1, 2, ..., and shard 1 on the first three of them. It returns the hosts, the
// shard on host 1 once it has taken a command of 12 bytes, and what ends them.
func startFleet(addresses ...string) (hosts map[uint64]*nodehost.NodeHost, shard *nodehost.Shard, stop func()) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "flotilla")
	if err != nil {
		log.Fatal(err)
	}
	hosts = make(map[uint64]*nodehost.NodeHost)
	members := map[uint64]string{1: addresses[0], 2: addresses[1], 3: addresses[2]}
	for i, address := range addresses {
		id := uint64(i + 1)
		if hosts[id], err = nodehost.New(nodehost.Config{Dir: filepath.Join(dir, fmt.Sprint(id)), Address: address}); err != nil {
			log.Fatal(err)
		}
		if members[id] == "" {
			continue
		}
		replica := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: id, Members: members}
		if err := hosts[id].StartReplica(ctx, replica, newCounter); err != nil {
			log.Fatal(err)
		}
	}
	if shard, err = hosts[1].Shard(1); err != nil {
		log.Fatal(err)
	}
	if _, err := shard.WaitLeader(ctx); err != nil {
		log.Fatal(err)
	}
	for {
		_, err := shard.Propose(ctx, []byte("hello, fleet"))
		if err == nil {
			break
		}
		if nodehost.MaybeApplied(err) {
			log.Fatal(err)
		}
		runtime.Gosched() // the leader was elected a moment ago, or another one is
	}
	return hosts, shard, func() {
		for _, host := range hosts {
			host.Close()
		}
		os.RemoveAll(dir)
	}
}

// A shard leaves host 3 for host 4 in one step, while it serves: the new replica gets the log first, then takes the place of the old one.
func ExampleShard_ReplaceReplica() {
	ctx := context.Background()
	hosts, shard, stop := startFleet("127.0.0.1:24881", "127.0.0.1:24882", "127.0.0.1:24883", "127.0.0.1:24884")
	defer stop()

	joining := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 4, Join: true}
	if err := hosts[4].StartReplica(ctx, joining, newCounter); err != nil {
		log.Fatal(err)
	}
	members, err := shard.ReplaceReplica(ctx, 3, 4, "127.0.0.1:24884")
	if err != nil {
		log.Fatal(err)
	}
	for _, member := range members.Members {
		fmt.Println("replica", member.ReplicaID, "is a", member.Kind)
	}
	// Output:
	// replica 1 is a voter
	// replica 2 is a voter
	// replica 4 is a voter
}

// A learner has all commands and serves reads, but does not vote. It is promoted once it has caught up.
func ExampleShard_Promote() {
	ctx := context.Background()
	hosts, shard, stop := startFleet("127.0.0.1:24885", "127.0.0.1:24886", "127.0.0.1:24887", "127.0.0.1:24888")
	defer stop()

	joining := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 4, Join: true}
	if err := hosts[4].StartReplica(ctx, joining, newCounter); err != nil {
		log.Fatal(err)
	}
	if _, err := shard.AddReplica(ctx, 4, raftpb.Learner, "127.0.0.1:24888"); err != nil {
		log.Fatal(err)
	}
	learner, err := hosts[4].Shard(1)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := learner.WaitLeader(ctx); err != nil {
		log.Fatal(err)
	}
	total, err := learner.Read(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the learner reads", total)
	members, err := shard.Promote(ctx, 4)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("replica 4 is a", members.Members[3].Kind)
	// Output:
	// the learner reads 12
	// replica 4 is a voter
}

// Leadership is handed to a replica on another host, as before its own host is taken down.
func ExampleShard_TransferLeader() {
	ctx := context.Background()
	_, shard, stop := startFleet("127.0.0.1:24891", "127.0.0.1:24892", "127.0.0.1:24893")
	defer stop()

	if err := shard.TransferLeader(ctx, 2); err != nil {
		log.Fatal(err)
	}
	leader, _, _ := shard.Leader()
	fmt.Println("replica", leader, "leads")
	// Output:
	// replica 2 leads
}
