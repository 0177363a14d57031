package nodehost_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/internal/loopback"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

func TestMain(m *testing.M) {
	children := map[string]func(arguments []string){killChild: runKillChild, streamChild: runStreamChild}
	if len(os.Args) > 1 && children[os.Args[1]] != nil {
		children[os.Args[1]](os.Args[2:])
		return
	}
	leaktest.Main(m)
}

// patience bounds every wait of a test: it is only ever reached by a test that fails.
const patience = 60 * time.Second

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errors.New("the test lost its patience"))
	t.Cleanup(cancel)
	return ctx
}

// journal is a state machine that writes down every command. hook, if set, is called before a command is written down.
type journal struct {
	hook func(command string) error

	mu       sync.Mutex // for tests that look without asking the engine
	commands []string
}

func (j *journal) Update(entries []rsm.Entry) error {
	for i := range entries {
		command := string(entries[i].Command)
		if j.hook != nil {
			if err := j.hook(command); err != nil {
				return err
			}
		}
		j.mu.Lock()
		j.commands = append(j.commands, command)
		entries[i].Result = rsm.Result{Value: uint64(len(j.commands)), Data: []byte(command)}
		j.mu.Unlock()
	}
	return nil
}

// Lookup returns all commands, or how many there are.
func (j *journal) Lookup(query any) (any, error) {
	if query == "panic" {
		panic("asked to")
	}
	if query == "size" {
		j.mu.Lock()
		defer j.mu.Unlock()
		return len(j.commands), nil
	}
	return j.all(), nil
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.commands)
}

func (j *journal) Close() error { return nil }

// cluster is some hosts of one deployment, with a directory each. Replica i+1 of every shard is on host i.
type cluster struct {
	t         testing.TB
	addresses []string
	dirs      []string
	hosts     []*nodehost.NodeHost
	configure func(i int, config *nodehost.Config)
	hook      func(host int, shard uint64, command string) error
	machine   func(host int) rsm.StateMachine // instead of a journal, if set
	saved     func(shard uint64) bool         // of which shards snapshots are taken all the time; nil: of none

	requestTimeout time.Duration // if 0: 5 s, and patience on a host that is alone and so loses no request
}

func newCluster(t testing.TB, size int) *cluster {
	t.Helper()
	addresses, err := loopback.Addresses(size)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, addresses: addresses}
	base := t.TempDir()
	for i := range size {
		c.dirs = append(c.dirs, filepath.Join(base, fmt.Sprint("host", i+1)))
	}
	c.hosts = make([]*nodehost.NodeHost, size)
	t.Cleanup(c.closeAll)
	return c
}

func (c *cluster) config(i int) nodehost.Config {
	requestTimeout := cmp.Or(c.requestTimeout, 5*time.Second)
	if c.requestTimeout == 0 && len(c.addresses) == 1 {
		requestTimeout = patience
	}
	config := nodehost.Config{
		Dir: c.dirs[i], Address: c.addresses[i], ElectionTimeout: 300 * time.Millisecond, RequestTimeout: requestTimeout,
		Tuning: nodehost.Tuning{PromiseInterval: 20 * time.Millisecond},
		Logger: slog.New(slog.NewTextHandler(testWriter{c.t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if c.configure != nil {
		c.configure(i, &config)
	}
	return config
}

// testWriter sends a log to a test's.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(line []byte) (int, error) {
	w.t.Logf("%s", line)
	return len(line), nil
}

func (c *cluster) start(hosts ...int) {
	c.t.Helper()
	for _, i := range hosts {
		host, err := nodehost.New(c.config(i))
		if err != nil {
			c.t.Fatal(err)
		}
		c.hosts[i] = host
	}
}

func (c *cluster) startAll(shards ...uint64) {
	c.t.Helper()
	for i := range c.hosts {
		c.start(i)
		c.startShards(i, shards...)
	}
}

func (c *cluster) members() map[uint64]string {
	members := make(map[uint64]string)
	for i, address := range c.addresses {
		members[uint64(i+1)] = address
	}
	return members
}

func (c *cluster) startShards(i int, shards ...uint64) {
	c.t.Helper()
	for _, shard := range shards {
		config := nodehost.ReplicaConfig{ShardID: shard, ReplicaID: uint64(i + 1), Members: c.members()}
		factory := c.factory(i)
		if c.saved != nil && c.saved(shard) {
			config.Snapshots, factory = oftenSaved, savedFactory(i)
		}
		if err := c.hosts[i].StartReplica(patient(c.t), config, factory); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *cluster) factory(host int) rsm.Factory {
	return func(shardID, replicaID uint64) (rsm.StateMachine, error) {
		if c.machine != nil {
			return c.machine(host), nil
		}
		j := &journal{}
		if c.hook != nil {
			j.hook = func(command string) error { return c.hook(host, shardID, command) }
		}
		return j, nil
	}
}

func (c *cluster) stop(hosts ...int) {
	c.t.Helper()
	for _, i := range hosts {
		if err := c.hosts[i].Close(); err != nil {
			c.t.Errorf("close host %d: %v", i, err)
		}
		c.hosts[i] = nil
	}
}

func (c *cluster) closeAll() {
	var wait sync.WaitGroup
	for i, host := range c.hosts {
		if host == nil {
			continue
		}
		wait.Go(func() {
			if err := host.Close(); err != nil && !errors.Is(err, nodehost.ErrStorageFailed) {
				c.t.Errorf("close host %d: %v", i, err)
			}
		})
	}
	wait.Wait()
}

func (c *cluster) shard(i int, id uint64) *nodehost.Shard {
	c.t.Helper()
	shard, err := c.hosts[i].Shard(id)
	if err != nil {
		c.t.Fatal(err)
	}
	return shard
}

// leader waits until every running host agrees on a leader of the shard that runs, and returns its host.
func (c *cluster) leader(id uint64) (host int) {
	c.t.Helper()
	c.eventually("one leader", func() bool {
		host = -1
		for i := range c.hosts {
			if c.hosts[i] == nil {
				continue
			}
			shard, err := c.hosts[i].Shard(id)
			if err != nil {
				continue // it has none
			}
			leader, _, ok := shard.Leader()
			if !ok || host >= 0 && host != int(leader-1) {
				return false
			}
			host = int(leader - 1)
		}
		return host >= 0 && c.hosts[host] != nil && c.hosts[host].Info().Shards != nil
	})
	return host
}

// steadyTimeout is an election timeout that outlasts what a busy machine keeps a host waiting.
const steadyTimeout = 2 * time.Second

// steady waits for a leader and sees to it that none other is elected because the machine is busy, from then on to the end of the test.
// It is for tests that look at what one leader does. They wait for longer where an election timeout has to pass.
func (c *cluster) steady(id uint64) (leader int) {
	c.t.Helper()
	c.leader(id)
	c.setTimeouts(id, steadyTimeout)
	c.t.Cleanup(func() { c.setTimeouts(id, 0) }) // for as long a host that is closed looks for who takes over
	return c.leader(id)
}

// setTimeouts sets the election timeout of a shard on every host that has it, 0 for the host's own.
func (c *cluster) setTimeouts(id uint64, election time.Duration) {
	c.t.Helper()
	for _, host := range c.hosts {
		if host == nil {
			continue
		}
		if shard, err := host.Shard(id); err == nil {
			if err := shard.SetTimeouts(patient(c.t), election, 0); err != nil && !errors.Is(err, nodehost.ErrStopped) {
				c.t.Errorf("timeouts of shard %d: %v", id, err)
			}
		}
	}
}

func (c *cluster) eventually(what string, condition func() bool) {
	c.t.Helper()
	eventually(c.t, what, condition)
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ctx := patient(t)
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, context.Cause(ctx))
		}
	}
}

// propose proposes until the command is acknowledged. A command whose outcome was unknown may end up in the log twice.
func (c *cluster) propose(i int, id uint64, command string) rsm.Result {
	c.t.Helper()
	shard := c.shard(i, id)
	var result rsm.Result
	c.eventually("propose "+command, func() bool {
		var err error
		result, err = shard.Propose(patient(c.t), []byte(command))
		if errors.Is(err, nodehost.ErrStopped) {
			c.t.Fatal(err)
		}
		return err == nil
	})
	return result
}

// read reads until it gets an answer.
func (c *cluster) read(i int, id uint64) []string {
	c.t.Helper()
	shard := c.shard(i, id)
	var commands []string
	c.eventually("read", func() bool {
		value, err := shard.Read(patient(c.t), nil)
		if err != nil {
			return false
		}
		commands = value.([]string)
		return true
	})
	return commands
}

// missing reports the first wanted command that is missing.
func missing(commands, wanted []string) (string, bool) {
	have := make(map[string]bool)
	for _, command := range commands {
		have[command] = true
	}
	for _, command := range wanted {
		if !have[command] {
			return command, true
		}
	}
	return "", false
}

func newJournal(uint64, uint64) (rsm.StateMachine, error) { return &journal{}, nil }
