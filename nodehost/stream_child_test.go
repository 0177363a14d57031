package nodehost_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/kv"
	"github.com/flotilla-raft/flotilla/rsm/pebblekv"
)

// streamChild as first argument makes the test binary a host of TestKillsDuringStreams.
const streamChild = "flotilla-stream-child"

// Shard 1 is in memory, so that its streams are of files; shard 2 is on disk, so that they are of views.
const (
	memoryShard = 1
	diskShard   = 2
)

// streamedConfig is how a host of that test starts a shard. Snapshots are taken by hand, and no log is kept behind them.
func streamedConfig(shard uint64, i int, members map[uint64]string) nodehost.ReplicaConfig {
	return nodehost.ReplicaConfig{
		ShardID: shard, ReplicaID: uint64(i + 1), Members: members, Audit: 200 * time.Millisecond,
		Snapshots: nodehost.SnapshotPolicy{Disabled: true, KeepEntries: -1, Retain: 1},
	}
}

func streamedFactory(dir string) rsm.Factory {
	return func(shard, _ uint64) (rsm.StateMachine, error) {
		if shard == memoryShard {
			return kv.New(), nil
		}
		return pebblekv.New(pebblekv.Options{Dir: filepath.Join(dir, "machine")})
	}
}

// hostChild is such a host, in a process of its own. It says on stdout, a line each: + and what was acknowledged, - and what else it did, ! and what
// must not happen. It is told what to do on stdin, a word a line, and ends when that does.
type hostChild struct {
	index  int
	host   *nodehost.NodeHost
	shards []*nodehost.Shard
	ctx    context.Context
	stop   context.CancelFunc // of the load
	load   sync.WaitGroup

	mu sync.Mutex
}

func (c *hostChild) say(format string, arguments ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = fmt.Fprintf(os.Stdout, format+"\n", arguments...)
}

// runStreamChild is the child's main: number of the host, of the round, bytes per second, bytes per line of progress, directory, addresses.
func runStreamChild(arguments []string) {
	c := &hostChild{}
	if err := c.run(arguments); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func (c *hostChild) run(arguments []string) (err error) {
	var numbers [4]int
	for i := range numbers {
		if numbers[i], err = strconv.Atoi(arguments[i]); err != nil {
			return err
		}
	}
	c.index = numbers[0]
	c.ctx, c.stop = context.WithCancel(context.Background())
	dir, addresses := filepath.Join(arguments[4], fmt.Sprint("host", c.index+1)), arguments[5:]
	members := make(map[uint64]string)
	for i, address := range addresses {
		members[uint64(i+1)] = address
	}
	c.host, err = nodehost.New(nodehost.Config{
		Dir: dir, Address: addresses[c.index], ElectionTimeout: 300 * time.Millisecond, Events: c.events(),
		Tuning: nodehost.Tuning{SnapshotStreamBytesPerSecond: int64(numbers[2])},
	})
	if err != nil {
		return err
	}
	for shard := uint64(memoryShard); shard <= diskShard; shard++ {
		if err := c.host.StartReplica(context.Background(), streamedConfig(shard, c.index, members), streamedFactory(dir)); err != nil {
			return err
		}
		handle, err := c.host.Shard(shard)
		if err != nil {
			return err
		}
		c.shards = append(c.shards, handle)
		c.load.Go(func() { c.propose(handle, numbers[1]) })
		go func() { // it ends with the process
			c.read(handle)
			c.say("- up %d", shard)
		}()
	}
	go c.watch(uint64(numbers[3]))
	return c.obey()
}

func (c *hostChild) events() nodehost.Events {
	bad := func(what string) func(nodehost.ReplicaName, error) {
		return func(replica nodehost.ReplicaName, err error) { c.say("! %s: %v: %v", what, replica, err) }
	}
	return nodehost.Events{
		SnapshotOffered:   func(_ nodehost.ReplicaName, source, _ uint64) { c.say("- offered %d", source) },
		SnapshotInstalled: func(replica nodehost.ReplicaName, _ uint64) { c.say("- installed %d", replica.ShardID) },
		SnapshotDamaged:   bad("damaged snapshot"), ReplicaDamaged: bad("damaged"), ReplicaFenced: bad("fenced"), ReplicaQuarantined: bad("quarantined"),
		ReplicaAbstaining: func(replica nodehost.ReplicaName) { c.say("! abstains: %v", replica) },
		AuditUndecided:    func(replica nodehost.ReplicaName, _ uint64) { c.say("! the replicas differ: %v", replica) },
	}
}

// watch says how much has come.
func (c *hostChild) watch(step uint64) {
	ticker := time.NewTicker(5 * time.Millisecond)
	for said := uint64(0); ; <-ticker.C {
		for received := c.host.Info().Engine.StreamBytesReceived; received >= said+step; said += step {
			c.say("- received")
		}
	}
}

// propose is the load, at most a command a millisecond.
func (c *hostChild) propose(shard *nodehost.Shard, round int) {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for n := 0; c.ctx.Err() == nil; n++ {
		key := fmt.Sprintf("%d/round %d/host %d/%d", shard.ID(), round, c.index, n)
		if _, err := shard.Propose(c.ctx, kv.Put([]byte(key), []byte(key))); err == nil {
			c.say("+%s", key)
		} else {
			_, _ = shard.WaitLeader(c.ctx)
		}
		<-ticker.C
	}
}

// read waits until this host's state is as new as any.
func (c *hostChild) read(shard *nodehost.Shard) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for ; ; <-ticker.C {
		if _, err := shard.Read(context.Background(), kv.Size{}); err == nil {
			return
		}
	}
}

// obey does what it is told.
func (c *hostChild) obey() error {
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		words := strings.Fields(input.Text())
		switch words[0] {
		case "snapshot":
			for _, shard := range c.shards {
				if _, err := shard.Snapshot(context.Background()); err != nil {
					return err
				}
			}
		case "fill":
			n, err := strconv.Atoi(words[1])
			if err != nil {
				return err
			}
			c.fill(n)
		case "quiet":
			c.stop()
			c.load.Wait()
		}
		c.say("- done")
	}
	return nil
}

// fill proposes n values of 64 KiB to each shard.
func (c *hostChild) fill(n int) {
	var filling sync.WaitGroup
	for _, shard := range c.shards {
		for worker := range 4 {
			filling.Go(func() {
				for i := worker; i < n; i += 4 {
					key, value := fmt.Append(nil, "fill ", i), make([]byte, streamCommandBytes)
					for at := range value {
						value[at] = byte(i * (at + 1) >> 3)
					}
					for {
						if _, err := shard.Propose(context.Background(), kv.Put(key, value)); err == nil {
							break
						}
						_, _ = shard.WaitLeader(context.Background())
					}
				}
			})
		}
	}
	filling.Wait()
}
