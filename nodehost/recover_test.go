package nodehost_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// rebuilt lets a shard of three lose its quorum: hosts 1 and 2 are closed, and host 0 too, after it had everything.
func rebuilt(t *testing.T, commands int) (c *cluster, acknowledged []string) {
	t.Helper()
	c = newCluster(t, 3)
	c.startAll(1)
	for i := range commands {
		acknowledged = append(acknowledged, fmt.Sprint("command ", i))
		c.propose(0, 1, acknowledged[i])
	}
	c.read(0, 1) // has it all
	c.stop(1, 2)
	c.stop(0)
	return c, acknowledged
}

// TestRecoverFromASurvivor is T-47: of three hosts two are lost, the third one goes on alone, others are added; the lost ones come back, both at once, and
// are refused.
func TestRecoverFromASurvivor(t *testing.T) {
	c, acknowledged := rebuilt(t, 20)
	options := nodehost.RecoverOptions{Dir: c.dirs[0], ShardID: 1}
	recovered, err := nodehost.RecoverShard(patient(t), options)
	if err != nil {
		t.Fatal(err)
	}
	if len(recovered.Former.Members) != 3 || len(recovered.Config.Members) != 1 || len(recovered.Asked) != 2 || recovered.Asked[0].Answer == nil {
		t.Errorf("recovered: %+v", recovered)
	}
	c.start(0)
	c.startShards(0, 1)
	c.propose(0, 1, "alone")
	if text, is := missing(c.read(0, 1), acknowledged); is {
		t.Errorf("%q is missing", text)
	}

	added := newCluster(t, 1)
	added.start(0)
	config := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 4, Join: true}
	if err := added.hosts[0].StartReplica(patient(t), config, newJournal); err != nil {
		t.Fatal(err)
	}
	change := nodehost.MembershipChange{Members: []nodehost.MemberChange{{ReplicaID: 4, Kind: raftpb.Voter, Address: added.addresses[0]}}}
	c.eventually("it is a member", func() bool { // a leader of two voters is none while one of them stands still
		_, err := c.shard(0, 1).ChangeMembers(patient(t), change)
		return err == nil
	})

	removed := make([]chan struct{}, 3)
	c.configure = func(i int, config *nodehost.Config) {
		removed[i] = make(chan struct{}, 16)
		config.Events.ReplicaRemoved = func(nodehost.ReplicaName) { removed[i] <- struct{}{} }
	}
	c.start(1, 2)
	c.startShards(1, 1)
	c.startShards(2, 1)
	for _, i := range []int{1, 2} {
		select {
		case <-removed[i]:
		case <-patient(t).Done():
			t.Fatalf("host %d was not told", i)
		}
		if _, err := c.shard(i, 1).Propose(patient(t), []byte("from the dead")); err == nil {
			t.Errorf("host %d still takes proposals", i)
		}
	}
	c.propose(0, 1, "together")
	got := c.read(0, 1)
	if slices.Contains(got, "from the dead") || !slices.Contains(got, "together") {
		t.Errorf("the shard has %v", got)
	}
	added.eventually("the added replica has it all", func() bool {
		value, err := added.shard(0, 1).StaleRead(context.Background(), nil, 0)
		return err == nil && slices.Equal(value.([]string), c.read(0, 1))
	})
}

// TestImportFencesTheDead: the shard is restored from a snapshot on the first host, with other incarnations; the other two come back.
func TestImportFencesTheDead(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.hosts {
		c.start(i)
		c.mustStartSaved(i, &savedJournal{}, nil)
	}
	c.propose(0, 1, "one")
	file := c.exportOf(0, t.TempDir())
	c.stop(0, 1, 2)
	if _, err := nodehost.ImportSnapshot(nodehost.ImportOptions{
		Dir: c.dirs[0], File: file, ShardID: 1, ReplicaID: 1, Members: map[uint64]string{1: c.addresses[0]}, Force: true,
	}); err != nil {
		t.Fatal(err)
	}
	removed := make([]chan struct{}, 3)
	c.configure = func(i int, config *nodehost.Config) {
		removed[i] = make(chan struct{}, 16)
		config.Events.ReplicaRemoved = func(nodehost.ReplicaName) { removed[i] <- struct{}{} }
	}
	c.start(0, 1, 2)
	for i := range c.hosts {
		c.mustStartSaved(i, &savedJournal{}, nil)
	}
	for _, i := range []int{1, 2} {
		select {
		case <-removed[i]:
		case <-patient(t).Done():
			t.Fatalf("host %d was not told", i)
		}
	}
	c.propose(0, 1, "two")
	if got := slices.Compact(c.read(0, 1)); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("the shard has %v", got)
	}
}

func TestRecoverRefuses(t *testing.T) {
	c, acknowledged := rebuilt(t, 3)
	ask := func(answers ...error) func(context.Context, string) error {
		return func(_ context.Context, address string) error {
			return answers[slices.Index(c.addresses, address)]
		}
	}
	gone := errors.New("connection refused")
	for name, test := range map[string]struct {
		options nodehost.RecoverOptions
		want    error
		says    string
	}{
		"a quorum answers": {nodehost.RecoverOptions{Ask: ask(nil, nil, gone)}, nodehost.ErrRecoverRefused, "2 of 3 voters are there, a quorum"},
		"one was not asked": {nodehost.RecoverOptions{Ask: ask(nil, fmt.Errorf("%w: no such name", nodehost.ErrNotAsked), gone)},
			nodehost.ErrRecoverRefused, "replica 2 at " + c.addresses[1] + " could not be asked"},
		"another shard":   {nodehost.RecoverOptions{ShardID: 2}, nodehost.ErrRecoverRefused, "0 replicas of shard 2"},
		"another replica": {nodehost.RecoverOptions{ReplicaID: 2}, nodehost.ErrRecoverRefused, "0 replicas of shard 1"},
		"no host":         {nodehost.RecoverOptions{Dir: t.TempDir()}, nodehost.ErrNoHost, "identity"},
	} {
		options := test.options
		if options.Dir == "" {
			options.Dir = c.dirs[0]
		}
		if options.ShardID == 0 {
			options.ShardID = 1
		}
		if _, err := nodehost.RecoverShard(patient(t), options); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %v and %q", name, err, test.want, test.says)
		}
	}
	c.start(0)
	if _, err := nodehost.RecoverShard(patient(t), nodehost.RecoverOptions{Dir: c.dirs[0], ShardID: 1}); !errors.Is(err, nodehost.ErrDirectoryLocked) {
		t.Errorf("of a running host: %v", err)
	}
	c.start(1, 2)
	for i := range c.hosts {
		c.startShards(i, 1)
	}
	if text, is := missing(c.read(0, 1), acknowledged); is {
		t.Errorf("after refusals %q is missing", text)
	}
	c.stop(0)
	_, err := nodehost.RecoverShard(patient(t), nodehost.RecoverOptions{Dir: c.dirs[0], ShardID: 1})
	if !errors.Is(err, nodehost.ErrRecoverRefused) || !strings.Contains(err.Error(), "3 of 3 voters") {
		t.Errorf("while the others run: %v", err)
	}
	if _, err := nodehost.RecoverShard(patient(t), nodehost.RecoverOptions{Dir: c.dirs[0], ShardID: 1, Force: true}); err != nil {
		t.Errorf("with force: %v", err)
	}
}

// TestRecoverCrashes cuts the power before every change of the disk: the replica serves all it had, as a member of the former shard or as the only
// one of the new.
func TestRecoverCrashes(t *testing.T) {
	r := newImportRig(t)
	type point struct {
		what string
		fs   vfs.FS
	}
	var mu sync.Mutex // the log store changes the disk beside the recovery
	var points []point
	random := rand.New(rand.NewPCG(3, 0))
	fs := errorfs.Wrap(r.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			for _, kept := range []int{0, 50, 100} {
				points = append(points, point{fmt.Sprintf("before call %v of %s, %d %% of the rest kept", op.Kind, op.Path, kept),
					r.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: random})})
			}
		}
		return nil
	}))
	if _, err := nodehost.RecoverShard(patient(t), nodehost.RecoverOptions{Dir: importDir, ShardID: 1, FS: fs}); err != nil {
		t.Fatal(err)
	}
	points = append(points, point{"at the end", r.fs.CrashClone(vfs.CrashCloneCfg{})})
	for _, p := range points {
		if imported, err := r.check(t, p.fs, 1); err != nil || imported {
			t.Errorf("%s: %v, %v", p.what, imported, err)
		}
	}
}

// A survivor that lost something itself is a last resort.
func TestRecoverFromAReplicaThatLostSomething(t *testing.T) {
	r := newImportRig(t)
	if _, err := nodehost.MarkForRepair(importDir, r.fs, 1, 1); err != nil {
		t.Fatal(err)
	}
	options := nodehost.RecoverOptions{Dir: importDir, ShardID: 1, FS: r.fs}
	if _, err := nodehost.RecoverShard(patient(t), options); !errors.Is(err, nodehost.ErrRecoverRefused) || !strings.Contains(err.Error(), "lost something") {
		t.Errorf("without force: %v", err)
	}
	options.Force = true
	if _, err := nodehost.RecoverShard(patient(t), options); err != nil {
		t.Fatal(err)
	}
	if imported, err := r.check(t, r.fs, 1); err != nil || imported {
		t.Errorf("what it serves: %v, %v", imported, err)
	}
}

// A survivor whose log begins behind snapshots of which none is whole has no state: it was made the only member, and could not be started.
func TestRecoverFromAReplicaWithoutAWholeSnapshot(t *testing.T) {
	c := newCluster(t, 1)
	path, whole := c.stopBehindSnapshot(func(config *nodehost.ReplicaConfig) {
		config.Snapshots = nodehost.SnapshotPolicy{Retain: 1, KeepEntries: -1}
	})
	damaged := slices.Clone(whole)
	damaged[len(damaged)/2] ^= 1
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	options := nodehost.RecoverOptions{Dir: c.dirs[0], ShardID: 1}
	_, err := nodehost.RecoverShard(patient(t), options)
	if !errors.Is(err, nodehost.ErrRecoverRefused) || !strings.Contains(err.Error(), path) {
		t.Errorf("recovered: %v, want a refusal that names %s", err, path)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := nodehost.RecoverShard(patient(t), options); err != nil {
		t.Errorf("with the whole snapshot: %v", err)
	}
}

// A host whose name nobody knows was not asked, which is not the same as one that does not answer.
func TestRecoverDoesNotTakeAnUnknownNameForAnAnswer(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0)
	config := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Members: map[uint64]string{1: c.addresses[0]}}
	if err := c.hosts[0].StartReplica(patient(t), config, newJournal); err != nil {
		t.Fatal(err)
	}
	c.propose(0, 1, "one")
	if _, err := c.shard(0, 1).ChangeMembers(patient(t), nodehost.MembershipChange{Members: []nodehost.MemberChange{
		{ReplicaID: 2, Kind: raftpb.Learner, Address: "127.0.0.1:65536"}, // no such port: no name service is needed to know
	}}); err != nil {
		t.Fatal(err)
	}
	c.stop(0)
	_, err := nodehost.RecoverShard(patient(t), nodehost.RecoverOptions{Dir: c.dirs[0], ShardID: 1})
	if !errors.Is(err, nodehost.ErrRecoverRefused) || !strings.Contains(err.Error(), "could not be asked") {
		t.Error(err)
	}
}
