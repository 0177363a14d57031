package nodehost_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// killChild as first argument makes the test binary the child of TestKillKeepsWhatWasAcknowledged.
const killChild = "flotilla-kill-child"

// killsInSample is how often a child is killed on each store when -soak does not say more.
const killsInSample = 3

// A process that is killed under load, or while it starts, and started again holds every command whose acknowledgement its parent
// received, and its hosts agree. Where the kill comes is drawn: among the first lines that the child writes as its
// hosts come up, or after some hundreds of acknowledgements. The kernel keeps what was written, synced or not: that syncs are where they have to be
// is shown by the power cut that each kill is paired with (R30, killPair). Of the second shard snapshots are taken every few entries, and log is let go of.
func TestKillKeepsWhatWasAcknowledged(t *testing.T) {
	kills := max(killsInSample, *soak)
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			r := &killRun{t: t, store: store, random: rand.New(rand.NewPCG(uint64(kills), 3))}
			r.c = newCluster(t, 3)
			r.c.configure = func(_ int, config *nodehost.Config) { config.LogDB = store.open }
			r.c.saved = func(shard uint64) bool { return shard == savedShard }
			for round := range kills {
				pair := killPair{store: store, seed: uint64(round)}
				kill := r.draw(&pair)
				acknowledged, err := r.kill(round, kill)
				if err != nil {
					t.Fatalf("kill %d: %v", round, err)
				}
				if err := pair.run(); err != nil {
					t.Fatalf("power cut of kill %d, %+v: %v", round, pair, err)
				}
				r.wanted = append(r.wanted, acknowledged...)
				if round == kills-1 || round%killsBetweenChecks == killsBetweenChecks-1 {
					r.check()
				}
			}
			t.Logf("%d kills, %d commands acknowledged, %d while hosts came up", kills, len(r.wanted), r.early)
			if len(r.wanted) == 0 {
				t.Error("nothing was acknowledged")
			}
		})
	}
}

// savedShard is the shard of which snapshots are taken.
const savedShard = 2

// killsBetweenChecks is how many children follow one another before the parent starts the hosts itself and looks.
const killsBetweenChecks = 5

// killRun is one run of kills on one store.
type killRun struct {
	t      *testing.T
	store  store
	c      *cluster
	random *rand.Rand
	wanted []string
	epoch  uint64 // of the first host at the last check
	early  int    // kills before the last host was up
}

// check starts the hosts on what the children left, and looks for every acknowledged command on each of them.
func (r *killRun) check() {
	r.t.Helper()
	r.c.startAll(1, 2)
	var first []string
	for i := range r.c.hosts {
		commands := append(r.c.read(i, 1), r.c.read(i, 2)...)
		if lost, gone := missing(commands, r.wanted); gone {
			r.t.Fatalf("host %d lost %q of %d acknowledged commands", i, lost, len(r.wanted))
		}
		seen := make(map[string]bool)
		for _, command := range commands {
			if seen[command] {
				r.t.Fatalf("host %d holds %q twice", i, command)
			}
			seen[command] = true
		}
		if first == nil {
			first = commands
		}
		if !slices.Equal(first, commands) {
			r.t.Fatalf("hosts 0 and %d differ", i)
		}
	}
	epoch := r.c.hosts[0].Info().Identity.Epoch
	if epoch <= r.epoch {
		r.t.Errorf("epoch %d follows epoch %d", epoch, r.epoch)
	}
	r.epoch = epoch
	r.c.stop(0, 1, 2)
}

// kill runs a child, kills it after a line of its output, and returns what it acknowledged.
func (r *killRun) kill(round, kill int) (acknowledged []string, err error) {
	c := r.c
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	arguments := append([]string{killChild, r.store.name, fmt.Sprint(round), filepath.Dir(c.dirs[0])}, c.addresses...)
	child := exec.CommandContext(ctx, program, arguments...)
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
	lines := 0
	for output := bufio.NewReader(output); ; {
		line, err := output.ReadString('\n')
		if err != nil {
			break // a line without its end was not received
		}
		if command, found := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "+"); found {
			acknowledged = append(acknowledged, command)
		}
		if lines++; lines == kill {
			if err := child.Process.Kill(); err != nil {
				return nil, err
			}
		}
	}
	_ = child.Wait()                                                              // killed
	if slow := ctx.Err() != nil && len(acknowledged) > 0; lines < kill && !slow { // a slow machine's child is killed at the end of its time
		return nil, fmt.Errorf("the child ended by itself after %d of %d lines: %s", lines, kill, complaints.String())
	}
	return acknowledged, nil
}

// draw draws the line of its output after which the child is killed, and with it when the power of its pair is cut.
func (r *killRun) draw(pair *killPair) int {
	if r.random.IntN(4) == 0 {
		r.early++
		pair.commands, pair.comingUp = 1+r.random.IntN(50), 1+r.random.IntN(syncsComingUp)
		return 1 + r.random.IntN(len(r.c.hosts)+1)
	}
	pair.commands = 50 + r.random.IntN(1500)
	return pair.commands
}

// runKillChild is the child's main: three hosts, two shards, callers on every host; what is acknowledged is written to stdout, after a +.
func runKillChild(arguments []string) {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	if err := loadUntilKilled(arguments[0], arguments[1], arguments[2], arguments[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func loadUntilKilled(name, round, base string, addresses []string) error {
	var mu sync.Mutex
	say := func(line string) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = os.Stdout.WriteString(line + "\n")
	}
	say("- running")
	members := make(map[uint64]string)
	for i, address := range addresses {
		members[uint64(i+1)] = address
	}
	var callers sync.WaitGroup
	for i, address := range addresses {
		host, err := nodehost.New(nodehost.Config{
			Dir: filepath.Join(base, fmt.Sprint("host", i+1)), Address: address, ElectionTimeout: 300 * time.Millisecond,
			LogDB: storeNamed(name).open,
		})
		if err != nil {
			return err
		}
		say("- host")
		for id := uint64(1); id <= 2; id++ {
			config := nodehost.ReplicaConfig{ShardID: id, ReplicaID: uint64(i + 1), Members: members}
			factory := rsm.Factory(func(uint64, uint64) (rsm.StateMachine, error) { return &journal{}, nil })
			if id == savedShard {
				config.Snapshots = oftenSaved
				factory = savedFactory(i)
			}
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
							say("+" + command)
						}
					}
				})
			}
		}
	}
	callers.Wait()
	return nil
}
