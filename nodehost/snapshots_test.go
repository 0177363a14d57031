package nodehost_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// savedJournal is a journal that can be saved.
type savedJournal struct {
	journal
	saving    func() error
	recovered int // commands that came from a snapshot
}

func (j *savedJournal) Save(_ context.Context, to rsm.SnapshotWriter) error {
	return j.write(j.all(), to)
}

func (j *savedJournal) write(commands []string, to rsm.SnapshotWriter) error {
	if j.saving != nil {
		if err := j.saving(); err != nil {
			return err
		}
	}
	for _, command := range commands {
		if _, err := to.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(command))), command...)); err != nil {
			return err
		}
	}
	return nil
}

func (j *savedJournal) Recover(_ context.Context, from rsm.SnapshotReader) error {
	all, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.commands = nil; len(all) > 0; {
		length := binary.LittleEndian.Uint32(all)
		j.commands = append(j.commands, string(all[4:4+length]))
		all = all[4+length:]
	}
	j.recovered = len(j.commands)
	return nil
}

// preparedJournal is a journal that is saved beside Updates.
type preparedJournal struct{ savedJournal }

// Save hides that of savedJournal, which would make it a rsm.Snapshotter too.
func (j *preparedJournal) Save() {}

func (j *preparedJournal) Prepare() (rsm.View, error) { return &journalView{j, j.all()}, nil }

type journalView struct {
	of       *preparedJournal
	commands []string
}

func (v *journalView) Save(_ context.Context, to rsm.SnapshotWriter) error {
	return v.of.write(v.commands, to)
}
func (v *journalView) Close() error { return nil }

// syncedJournal claims to be on disk, for a test that never asks it to prove that.
type syncedJournal struct{ preparedJournal }

func (j *syncedJournal) Open(context.Context) (uint64, error) { return 0, nil }
func (j *syncedJournal) Sync() error                          { return nil }

// oftenSaved is a policy that takes a snapshot every few entries, and keeps log for who was cut off for a moment.
var oftenSaved = nodehost.SnapshotPolicy{Entries: 25, KeepEntries: 20}

// savedFactory makes a machine of one of the kinds in memory.
func savedFactory(host int) rsm.Factory {
	return func(uint64, uint64) (rsm.StateMachine, error) {
		if host%2 == 0 {
			return &preparedJournal{}, nil
		}
		return &savedJournal{}, nil
	}
}

// startSaved starts a replica of shard 1 with a machine and a policy.
func (c *cluster) startSaved(i int, machine rsm.StateMachine, change func(*nodehost.ReplicaConfig)) error {
	config := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members()}
	if change != nil {
		change(&config)
	}
	return c.hosts[i].StartReplica(patient(c.t), config, func(uint64, uint64) (rsm.StateMachine, error) { return machine, nil })
}

func (c *cluster) mustStartSaved(i int, machine rsm.StateMachine, change func(*nodehost.ReplicaConfig)) {
	c.t.Helper()
	if err := c.startSaved(i, machine, change); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) snapshot(i int) uint64 {
	c.t.Helper()
	index, err := c.shard(i, 1).Snapshot(patient(c.t))
	if err != nil {
		c.t.Fatal(err)
	}
	return index
}

func TestAHostComesBackFromItsSnapshot(t *testing.T) {
	for _, store := range stores {
		for _, kind := range []struct {
			name    string
			machine func() (rsm.StateMachine, *savedJournal)
		}{
			{"snapshotter", func() (rsm.StateMachine, *savedJournal) { j := &savedJournal{}; return j, j }},
			{"concurrent", func() (rsm.StateMachine, *savedJournal) { j := &preparedJournal{}; return j, &j.savedJournal }},
		} {
			t.Run(store.name+"/"+kind.name, func(t *testing.T) {
				c := newCluster(t, 1)
				var taken atomic.Uint64
				c.configure = func(_ int, config *nodehost.Config) {
					config.LogDB = store.open
					config.Events.SnapshotTaken = func(_ nodehost.ReplicaName, index uint64) { taken.Store(index) }
				}
				c.start(0)
				compress := func(config *nodehost.ReplicaConfig) { config.Snapshots.Compress = true }
				machine, _ := kind.machine()
				c.mustStartSaved(0, machine, compress)
				var commands []string
				for i := range 50 {
					commands = append(commands, fmt.Sprint("command ", i))
					c.propose(0, 1, commands[i])
					if i == 39 {
						index := c.snapshot(0)
						c.eventually("the event", func() bool { return taken.Load() == index })
					}
				}
				c.stop(0)
				c.start(0)
				machine, journal := kind.machine()
				c.mustStartSaved(0, machine, compress)
				if got := c.read(0, 1); !slices.Equal(got, commands) {
					t.Errorf("%d commands: %q", len(got), got)
				}
				if journal.recovered != 40 {
					t.Errorf("%d commands came from the snapshot", journal.recovered)
				}
				if info := c.hosts[0].Info(); info.Engine.Recoveries != 1 {
					t.Errorf("%+v", info.Engine)
				}
			})
		}
	}
}

func TestWhatTakesNoSnapshotSaysWhy(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0)
	c.mustStartSaved(0, &journal{}, nil)
	c.propose(0, 1, "x")
	if _, err := c.shard(0, 1).Snapshot(patient(t)); !errors.Is(err, nodehost.ErrNoSnapshots) {
		t.Errorf("a state machine that is replayed: %v", err)
	}
	c.stop(0)
	c.dirs[0] += "-other"
	c.start(0)
	c.mustStartSaved(0, &syncedJournal{}, nil)
	if _, err := c.shard(0, 1).Snapshot(patient(t)); !errors.Is(err, nodehost.ErrNothingApplied) {
		t.Errorf("before the first command: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.shard(0, 1).Snapshot(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("for a caller who has left: %v", err)
	}
}

// What goes wrong while a snapshot is taken ends that one alone: the shard goes on, and it is tried again by itself.
func TestAFailedSnapshotIsTriedAgain(t *testing.T) {
	c := newCluster(t, 1)
	var full atomic.Bool
	var failed, taken atomic.Int32
	c.configure = func(_ int, config *nodehost.Config) {
		config.FS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if full.Load() && op.Kind == errorfs.OpFileWrite && filepath.Base(filepath.Dir(op.Path)) == "snapshots" {
				return syscall.ENOSPC
			}
			return nil
		}))
		config.Events.SnapshotFailed = func(_ nodehost.ReplicaName, err error) { failed.Add(1) }
		config.Events.SnapshotTaken = func(nodehost.ReplicaName, uint64) { taken.Add(1) }
	}
	c.start(0)
	c.mustStartSaved(0, &savedJournal{}, nil)
	c.propose(0, 1, "before")
	full.Store(true)
	_, err := c.shard(0, 1).Snapshot(patient(t))
	if !errors.Is(err, nodehost.ErrSnapshotFailed) || !errors.Is(err, syscall.ENOSPC) || nodehost.MaybeApplied(err) {
		t.Errorf("on a full disk: %v", err)
	}
	c.propose(0, 1, "meanwhile")
	full.Store(false)
	c.eventually("taken by itself", func() bool { return taken.Load() == 1 })
	if n := failed.Load(); n == 0 || c.hosts[0].Info().Engine.SnapshotsFailed != uint64(n) { // tried again meanwhile, if the machine is slow
		t.Errorf("%d events, %+v", n, c.hosts[0].Info().Engine)
	}
}

// A replica that must not be healed and has no whole snapshot does not start, and says which file is damaged, where.
func TestADamagedSnapshotIsTheErrorOfAStart(t *testing.T) {
	c := newCluster(t, 1)
	var damaged atomic.Pointer[error]
	c.configure = func(_ int, config *nodehost.Config) {
		config.Events.SnapshotDamaged = func(_ nodehost.ReplicaName, err error) { damaged.Store(&err) }
	}
	change := func(config *nodehost.ReplicaConfig) {
		config.DisableHealing = true
		config.Snapshots = nodehost.SnapshotPolicy{Retain: 1, KeepEntries: -1}
	}
	path, content := c.stopBehindSnapshot(change)
	if at := bytes.LastIndex(content, []byte("command")); at > 0 {
		content[at] ^= 1
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	c.start(0)
	err := c.startSaved(0, &savedJournal{}, change)
	if !errors.Is(err, nodehost.ErrSnapshotDamaged) {
		t.Errorf("start: %v", err)
	}
	c.eventually("the event", func() bool { return damaged.Load() != nil })
	if text := (*damaged.Load()).Error(); !errors.Is(*damaged.Load(), snapshot.ErrDamaged) || !bytes.Contains([]byte(text), []byte(path+": ")) {
		t.Errorf("%s", text)
	}
}

// stopBehindSnapshot runs a replica on host 0 until its log begins behind its only snapshot, stops the host, and returns the snapshot's file and what is in it.
func (c *cluster) stopBehindSnapshot(change func(*nodehost.ReplicaConfig)) (path string, content []byte) {
	c.t.Helper()
	c.start(0)
	c.mustStartSaved(0, &savedJournal{}, change)
	for range 20 {
		c.propose(0, 1, "command")
	}
	c.snapshot(0)
	c.eventually("log was let go of", func() bool { return c.hosts[0].Info().Engine.Compactions > 0 })
	c.propose(0, 1, "makes that durable")
	c.stop(0)
	files, err := filepath.Glob(filepath.Join(c.dirs[0], "snapshots", "*"))
	if err != nil || len(files) != 1 {
		c.t.Fatal(files, err)
	}
	if content, err = os.ReadFile(files[0]); err != nil {
		c.t.Fatal(err)
	}
	return files[0], content
}

// Close asks a Save to break off, and does not wait for one that does not.
func TestCloseDoesNotWaitForASave(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0)
	saving, over := make(chan struct{}), make(chan struct{})
	var once sync.Once // one that broke off is tried again
	machine := &savedJournal{saving: func() error {
		once.Do(func() { close(saving) })
		<-over
		return nil
	}}
	c.mustStartSaved(0, machine, nil)
	c.propose(0, 1, "x")
	answer := make(chan error, 1)
	go func() {
		_, err := c.shard(0, 1).Snapshot(context.Background())
		answer <- err
	}()
	<-saving
	closed := make(chan error, 1)
	host := c.hosts[0]
	go func() { closed <- host.Close() }()
	close(over) // its next write finds that nobody wants it any more
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	c.hosts[0] = nil
	if err := <-answer; err != nil && !errors.Is(err, nodehost.ErrStopped) {
		t.Errorf("snapshot: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(c.dirs[0], "snapshots", "pending-*")); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}
