package nodehost_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// A call of a session is applied once, however often it is proposed.
func ExampleSession() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "flotilla")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	host, err := nodehost.New(nodehost.Config{Dir: dir, Address: addresses[1]})
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	replica := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Members: map[uint64]string{1: addresses[1]}}
	factory := func(shardID, replicaID uint64) (rsm.StateMachine, error) { return &counter{}, nil }
	if err := host.StartReplica(ctx, replica, factory); err != nil {
		log.Fatal(err)
	}
	shard, err := host.Shard(1)
	if err != nil {
		log.Fatal(err)
	}
	session, err := shard.OpenSession(ctx)
	if err != nil {
		log.Fatal(err)
	}
	call := session.Call([]byte("twelve bytes"))
	for range 2 { // as a client does that has lost the answer
		result, err := call.Propose(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("applied:", result.Value)
	}
	if err := session.Close(ctx); err != nil {
		log.Fatal(err)
	}
	total, err := shard.Read(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("read:", total)
	// Output:
	// applied: 12
	// applied: 12
	// read: 12
}
