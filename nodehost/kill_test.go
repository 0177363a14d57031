package nodehost_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// killChild as first argument makes the test binary the child of TestKillKeepsWhatWasAcknowledged.
const killChild = "flotilla-kill-child"

// A process that is killed under load and started again holds every command whose acknowledgement its parent received. The
// kernel keeps what was written, synced or not: that syncs are where they have to be is shown by the power cuts.
func TestKillKeepsWhatWasAcknowledged(t *testing.T) {
	c := newCluster(t, 3)
	var wanted []string
	for round := range 3 {
		acknowledged, err := killUnderLoad(c, round, 400*(round+1))
		if err != nil {
			t.Fatal(err)
		}
		wanted = append(wanted, acknowledged...)
	}
	c.startAll(1, 2)
	for i := range 3 {
		commands := append(c.read(i, 1), c.read(i, 2)...)
		if lost, gone := missing(commands, wanted); gone {
			t.Fatalf("host %d lost %q of %d acknowledged commands", i, lost, len(wanted))
		}
		seen := make(map[string]bool)
		for _, command := range commands {
			if seen[command] {
				t.Fatalf("host %d holds %q twice", i, command)
			}
			seen[command] = true
		}
	}
	if epoch := c.hosts[0].Info().Identity.Epoch; epoch != 4 {
		t.Errorf("epoch of the fourth start is %d", epoch)
	}
}

// killUnderLoad runs a child until it has acknowledged so many commands, kills it and returns what it acknowledged.
func killUnderLoad(c *cluster, round, kill int) (acknowledged []string, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	arguments := append([]string{killChild, fmt.Sprint(round), filepath.Dir(c.dirs[0])}, c.addresses...)
	child := exec.CommandContext(patient(c.t), program, arguments...)
	var complaints strings.Builder
	child.Stderr = &complaints
	output, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	life, err := child.StdinPipe() // the child ends when this does, should the parent be killed
	if err != nil {
		return nil, err
	}
	defer life.Close()
	if err := child.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line without its end was not received
		}
		acknowledged = append(acknowledged, strings.TrimSuffix(line, "\n"))
		if len(acknowledged) == kill {
			if err := child.Process.Kill(); err != nil {
				return nil, err
			}
		}
	}
	_ = child.Wait() // killed
	if len(acknowledged) < kill {
		return nil, fmt.Errorf("the child ended by itself after %d of %d: %s", len(acknowledged), kill, complaints.String())
	}
	return acknowledged, nil
}

// runKillChild is the child's main: three hosts, two shards, callers on every host; what is acknowledged is written to stdout.
func runKillChild(arguments []string) {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	if err := loadUntilKilled(arguments[0], arguments[1], arguments[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func loadUntilKilled(round, base string, addresses []string) error {
	members := make(map[uint64]string)
	for i, address := range addresses {
		members[uint64(i+1)] = address
	}
	var mu sync.Mutex
	var callers sync.WaitGroup
	for i, address := range addresses {
		host, err := nodehost.New(nodehost.Config{
			Dir: filepath.Join(base, fmt.Sprint("host", i+1)), Address: address, ElectionTimeout: 300 * time.Millisecond,
		})
		if err != nil {
			return err
		}
		for id := uint64(1); id <= 2; id++ {
			config := nodehost.ReplicaConfig{ShardID: id, ReplicaID: uint64(i + 1), Members: members}
			factory := func(uint64, uint64) (rsm.StateMachine, error) { return &journal{}, nil }
			if err := host.StartReplica(context.Background(), config, factory); err != nil {
				return err
			}
			shard, err := host.Shard(id)
			if err != nil {
				return err
			}
			for caller := range 4 {
				callers.Go(func() {
					for n := 0; ; n++ {
						command := fmt.Sprint("round ", round, " host ", i, " shard ", id, " caller ", caller, " command ", n)
						if _, err := shard.Propose(context.Background(), []byte(command)); err == nil {
							mu.Lock()
							_, _ = os.Stdout.WriteString(command + "\n")
							mu.Unlock()
						}
					}
				})
			}
		}
	}
	callers.Wait()
	return nil
}
