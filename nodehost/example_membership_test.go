package nodehost_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

func newCounter(shardID, replicaID uint64) (rsm.StateMachine, error) { return &counter{}, nil }

// newcomer is the address of host 4.
var newcomer = "127.0.0.1:24874"

// startFleet starts the hosts 1 to 4, and shard 1 on the first three of them. It returns the hosts, the shard on host 1 once it has taken a
// command of 12 bytes, and what ends them.
func startFleet() (hosts map[uint64]*nodehost.NodeHost, shard *nodehost.Shard, stop func()) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "flotilla")
	if err != nil {
		log.Fatal(err)
	}
	hosts = make(map[uint64]*nodehost.NodeHost)
	for id := uint64(1); id <= 4; id++ {
		address := cmp.Or(addresses[id], newcomer)
		// Proposals and reads have a minute: the examples are about what happens without an accident.
		config := nodehost.Config{Dir: filepath.Join(dir, fmt.Sprint(id)), Address: address, RequestTimeout: time.Minute}
		if hosts[id], err = nodehost.New(config); err != nil {
			log.Fatal(err)
		}
		if addresses[id] == "" {
			continue
		}
		replica := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: id, Members: addresses}
		if err := hosts[id].StartReplica(ctx, replica, newCounter); err != nil {
			log.Fatal(err)
		}
	}
	if shard, err = hosts[1].Shard(1); err != nil {
		log.Fatal(err)
	}
	replicas := []*nodehost.Shard{shard}
	for id := uint64(2); id <= 3; id++ {
		other, err := hosts[id].Shard(1)
		if err != nil {
			log.Fatal(err)
		}
		replicas = append(replicas, other)
	}
	stop = func() {
		_ = setElectionTimeouts(ctx, replicas, 0) // or who leads looks for a successor for as long; one that was removed says so
		for _, host := range hosts {
			host.Close()
		}
		os.RemoveAll(dir)
	}
	session, err := shard.OpenSession(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := session.Propose(ctx, []byte("hello, fleet")); err != nil {
		log.Fatal(err)
	}
	// None of the examples is about a leader that is lost in the middle of it because the machine was busy.
	if _, err := holdLeader(ctx, replicas, time.Hour); err != nil {
		log.Fatal(err)
	}
	return hosts, shard, stop
}

// A shard leaves host 3 for host 4 in one step, while it serves: the new replica gets the log first, then takes the place of the old one.
func ExampleShard_ReplaceReplica() {
	ctx := context.Background()
	hosts, shard, stop := startFleet()
	defer stop()

	joining := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 4, Join: true}
	if err := hosts[4].StartReplica(ctx, joining, newCounter); err != nil {
		log.Fatal(err)
	}
	members, err := shard.ReplaceReplica(ctx, 3, 4, newcomer)
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
	hosts, shard, stop := startFleet()
	defer stop()

	joining := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 4, Join: true}
	if err := hosts[4].StartReplica(ctx, joining, newCounter); err != nil {
		log.Fatal(err)
	}
	if _, err := shard.AddReplica(ctx, 4, raftpb.Learner, newcomer); err != nil {
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
	for errors.Is(err, nodehost.ErrNoLeader) || errors.Is(err, nodehost.ErrBusy) { // the two have hardly met
		total, err = learner.Read(ctx, nil)
	}
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
	_, shard, stop := startFleet()
	defer stop()

	if err := shard.TransferLeader(ctx, 2); err != nil {
		log.Fatal(err)
	}
	leader, _, _ := shard.Leader()
	fmt.Println("replica", leader, "leads")
	// Output:
	// replica 2 leads
}
