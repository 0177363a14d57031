package nodehost_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// counter is a state machine: it adds up the lengths of the commands.
type counter struct{ total uint64 }

func (c *counter) Update(entries []rsm.Entry) error {
	for i := range entries {
		c.total += uint64(len(entries[i].Command))
		entries[i].Result.Value = c.total
	}
	return nil
}

func (c *counter) Lookup(any) (any, error) { return c.total, nil }
func (c *counter) Close() error            { return nil }

// addresses are where the hosts reach each other, by replica ID. In earnest each is on a machine of its own.
var addresses = map[uint64]string{1: "127.0.0.1:24871", 2: "127.0.0.1:24872", 3: "127.0.0.1:24873"}

// Three hosts, here in one process, replicate a shard. A command is proposed on one host and read on another.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "flotilla")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	shards := make(map[uint64]*nodehost.Shard)
	for id, address := range addresses {
		host, err := nodehost.New(nodehost.Config{Dir: filepath.Join(dir, fmt.Sprint(id)), Address: address})
		if err != nil {
			log.Fatal(err)
		}
		defer host.Close()
		replica := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: id, Members: addresses}
		factory := func(shardID, replicaID uint64) (rsm.StateMachine, error) { return &counter{}, nil }
		if err := host.StartReplica(ctx, replica, factory); err != nil {
			log.Fatal(err)
		}
		if shards[id], err = host.Shard(1); err != nil {
			log.Fatal(err)
		}
	}
	// A session waits for a leader, tries again if that one is lost, and has the command applied once all the same.
	session, err := shards[1].OpenSession(ctx)
	if err != nil {
		log.Fatal(err)
	}
	result, err := session.Propose(ctx, []byte("hello, fleet"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("applied:", result.Value)
	total, err := shards[2].Read(ctx, nil)
	for err != nil && ctx.Err() == nil { // no leader is known here yet, or it was lost: a read may be asked for any number of times
		total, err = shards[2].Read(ctx, nil)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("read:", total)
	// Output:
	// applied: 12
	// read: 12
}
