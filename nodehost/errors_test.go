package nodehost_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

func TestAContextEndsTheWaiting(t *testing.T) {
	c := newCluster(t, 1)
	release := make(chan struct{})
	var entered atomic.Bool
	c.hook = func(_ int, _ uint64, command string) error {
		if command == "stick" {
			entered.Store(true)
			<-release
		}
		return nil
	}
	c.startAll(1)
	c.propose(0, 1, "before")
	shard := c.shard(0, 1)

	cause := errors.New("cause")
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if _, err := shard.Propose(ended, []byte("never")); !errors.Is(err, cause) || nodehost.MaybeApplied(err) {
		t.Errorf("propose with an ended context: %v", err)
	}
	if _, err := shard.Read(ended, nil); !errors.Is(err, cause) {
		t.Errorf("read with an ended context: %v", err)
	}
	if _, err := shard.Status(ended); !errors.Is(err, cause) {
		t.Errorf("status with an ended context: %v", err)
	}
	if err := c.hosts[0].StopReplica(ended, 1); !errors.Is(err, cause) {
		t.Errorf("stop with an ended context: %v", err)
	}

	underWay, cancel := context.WithCancelCause(context.Background())
	proposed, read := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := shard.Propose(underWay, []byte("stick"))
		proposed <- err
	}()
	c.eventually("stuck", entered.Load)
	go func() {
		_, err := shard.Read(underWay, nil) // waits for what is stuck before it
		read <- err
	}()
	cancel(cause)
	if err := <-proposed; !errors.Is(err, cause) || !nodehost.MaybeApplied(err) {
		t.Errorf("propose whose context ended: %v", err)
	}
	if err := <-read; !errors.Is(err, cause) || nodehost.MaybeApplied(err) {
		t.Errorf("read whose context ended: %v", err)
	}
	close(release)
	if got := c.read(0, 1); len(got) != 2 {
		t.Errorf("applied %v", got)
	}
}

func TestDeadlinesOfContextsAreHonoured(t *testing.T) {
	c := newCluster(t, 1)
	release := make(chan struct{})
	c.hook = func(int, uint64, string) error { <-release; return nil }
	c.startAll(1)
	defer close(release)
	if _, err := c.shard(0, 1).WaitLeader(patient(t)); err != nil {
		t.Fatal(err)
	}
	c.eventually("a deadline", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		_, err := c.shard(0, 1).Propose(ctx, []byte("x"))
		return errors.Is(err, context.DeadlineExceeded) && nodehost.MaybeApplied(err)
	})
}

func TestProposeAtTerm(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll(1)
	c.propose(0, 1, "x")
	leader := c.hold(1)
	for i := range 3 {
		shard := c.shard((leader+i)%3, 1)
		c.eventually("accepted in the term", func() bool {
			_, term, _ := shard.Leader()
			_, err := shard.ProposeAtTerm(patient(t), term, []byte("y"))
			return err == nil
		})
		_, term, _ := shard.Leader()
		for _, wrong := range []uint64{0, term + 1, max(term, 1) - 1} {
			want := nodehost.ErrTermMismatch
			if i > 0 && wrong > term { // the follower may merely not know of it yet
				want = nodehost.ErrNotLeader
			}
			if _, err := shard.ProposeAtTerm(patient(t), wrong, []byte("z")); !errors.Is(err, want) || nodehost.MaybeApplied(err) {
				t.Errorf("host %d, term %d instead of %d: %v", i, wrong, term, err)
			}
		}
	}
	for _, command := range c.read(0, 1) {
		if command == "z" {
			t.Error("a refused command was applied")
		}
	}
}

func TestWithoutAQuorumRequestsEnd(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll(1)
	c.propose(0, 1, "x")
	leader := c.leader(1)
	for i := range 3 {
		if i != leader {
			c.stop(i)
		}
	}
	shard := c.shard(leader, 1)
	// First the leader does not know yet and takes it, later it has stepped down and refuses.
	seen := make(map[error]bool)
	c.eventually("no leader", func() bool {
		_, err := shard.Propose(context.Background(), []byte("y"))
		if err == nil {
			t.Fatal("acknowledged without a quorum")
		}
		for _, known := range []error{nodehost.ErrTimeout, nodehost.ErrLeaderChanged, nodehost.ErrNoLeader, nodehost.ErrNotLeader, nodehost.ErrBusy} {
			if errors.Is(err, known) {
				seen[known] = true
				return errors.Is(known, nodehost.ErrNoLeader)
			}
		}
		t.Fatalf("propose without a quorum: %v", err)
		return false
	})
	read := func() error { _, err := shard.Read(context.Background(), nil); return err }
	if err := settled(t, read, nodehost.ErrNoLeader); !errors.Is(err, nodehost.ErrNoLeader) {
		t.Errorf("read without a quorum: %v", err)
	}
	if err := shard.TransferLeader(context.Background(), 0); !errors.Is(err, nodehost.ErrTransferFailed) {
		t.Errorf("transfer without a quorum: %v", err)
	}
	if value, err := shard.StaleRead(context.Background(), nil, 0); err != nil || len(value.([]string)) == 0 {
		t.Errorf("stale read without a quorum: %v, %v", value, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := shard.WaitLeader(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a leader without a quorum: %v", err)
	}
}

// A request that is stuck behind its own state machine ends with the request timeout.
func TestRequestTimeout(t *testing.T) {
	c := newCluster(t, 1)
	c.configure = func(_ int, config *nodehost.Config) { config.RequestTimeout = 100 * time.Millisecond }
	release := make(chan struct{})
	var entered atomic.Bool
	c.hook = func(_ int, _ uint64, command string) error {
		if command == "stick" {
			entered.Store(true)
			<-release
		}
		return nil
	}
	c.startAll(1)
	defer close(release)
	c.propose(0, 1, "x")
	c.eventually("it sticks", func() bool {
		_, err := c.shard(0, 1).Propose(context.Background(), []byte("stick"))
		if !errors.Is(err, nodehost.ErrTimeout) && !passing(err) {
			t.Fatalf("propose: %v", err)
		}
		return errors.Is(err, nodehost.ErrTimeout) && nodehost.MaybeApplied(err) // or it was still queued
	})
	c.eventually("it is being applied", entered.Load)
	read := func() error { _, err := c.shard(0, 1).Read(context.Background(), nil); return err }
	if err := settled(t, read, nodehost.ErrTimeout); !errors.Is(err, nodehost.ErrTimeout) || nodehost.MaybeApplied(err) {
		t.Errorf("read: %v", err)
	}
}

func TestOverloadIsRefusedAtOnce(t *testing.T) {
	c := newCluster(t, 1)
	gate := &syncGate{}
	c.configure = func(_ int, config *nodehost.Config) {
		config.Tuning.MaxOpenBytes = 1 << 10
		config.FS = errorfs.Wrap(vfs.Default, gate)
	}
	c.startAll(1)
	c.propose(0, 1, "x")
	gate.hold()
	defer gate.release()
	refused := 0
	for range 1000 {
		err := c.shard(0, 1).ProposeAsync(make([]byte, 100), func(rsm.Result, error) {})
		if errors.Is(err, nodehost.ErrBusy) && !nodehost.MaybeApplied(err) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
	if _, err := c.shard(0, 1).Propose(context.Background(), make([]byte, nodehost.DefaultMaxCommandBytes+1)); !errors.Is(err, nodehost.ErrTooLarge) {
		t.Errorf("a command that is too large: %v", err)
	}
}

// syncGate holds every sync of files up.
type syncGate struct{ held atomic.Pointer[chan struct{}] }

func (g *syncGate) String() string { return "gate" }

func (g *syncGate) MaybeError(op errorfs.Op) error {
	if held := g.held.Load(); held != nil && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
		<-*held
	}
	return nil
}

func (g *syncGate) hold() {
	held := make(chan struct{})
	g.held.Store(&held)
}

func (g *syncGate) release() {
	if held := g.held.Swap(nil); held != nil {
		close(*held)
	}
}

func TestADiskBelowItsReserveRefusesProposals(t *testing.T) {
	fs := vfs.NewMem()
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 40})
	c := newCluster(t, 1)
	c.configure = func(_ int, config *nodehost.Config) { config.FS, config.Dir = fs, "/data" }
	c.startAll(1)
	c.propose(0, 1, "x")
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: nodehost.MinDiskReserveBytes - 1})
	c.eventually("full", func() bool {
		_, err := c.shard(0, 1).Propose(context.Background(), []byte("y"))
		return errors.Is(err, nodehost.ErrDiskFull) && !nodehost.MaybeApplied(err) && c.hosts[0].Info().DiskFull
	})
	c.read(0, 1) // reads go on
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 40})
	c.propose(0, 1, "z")
	if c.hosts[0].Info().DiskFull {
		t.Error("still full")
	}
}

// A write that fails is a latch for the host: nothing is acknowledged any more, all are told, and the data is there after a
// restart.
func TestAFailedSyncEndsTheWritesOfTheHost(t *testing.T) {
	c := newCluster(t, 1)
	var failing atomic.Bool
	var event atomic.Bool
	c.configure = func(_ int, config *nodehost.Config) {
		config.FS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if failing.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo) {
				return fmt.Errorf("injected")
			}
			return nil
		}))
		config.Events.StorageFailed = func(err error) { event.Store(err != nil) }
	}
	c.startAll(1, 2)
	c.propose(0, 1, "kept")
	c.propose(0, 2, "kept")
	failing.Store(true)
	// Another write may meet the failure first: of a promise, or of a segment that is made ahead.
	if _, err := c.shard(0, 1).Propose(context.Background(), []byte("lost")); err == nil || !nodehost.MaybeApplied(err) && !errors.Is(err, nodehost.ErrStorageFailed) {
		t.Errorf("the proposal that met the failure: %v", err)
	}
	c.eventually("refused on both shards", func() bool {
		for shard := uint64(1); shard <= 2; shard++ {
			_, err := c.shard(0, shard).Propose(context.Background(), []byte("y"))
			if err == nil {
				t.Fatal("acknowledged after the failure")
			}
			if nodehost.MaybeApplied(err) {
				return false
			}
		}
		return true
	})
	c.eventually("the event", event.Load)
	if err := c.hosts[0].Info().StorageFailure; err == nil {
		t.Error("Info does not tell of the failure")
	}
	if _, err := c.shard(0, 1).StaleRead(context.Background(), nil, 0); err != nil {
		t.Errorf("stale read after the failure: %v", err)
	}
	config := nodehost.ReplicaConfig{ShardID: 3, ReplicaID: 1, Members: c.members()}
	if err := c.hosts[0].StartReplica(patient(t), config, c.factory(0)); !errors.Is(err, nodehost.ErrStorageFailed) {
		t.Errorf("a start after the failure: %v", err)
	}
	if err := c.hosts[0].Close(); !errors.Is(err, nodehost.ErrStorageFailed) {
		t.Errorf("close after the failure: %v", err)
	}
	c.hosts[0] = nil
	failing.Store(false)
	c.startAll(1, 2)
	if lost, gone := missing(c.read(0, 1), []string{"kept"}); gone {
		t.Errorf("lost %q", lost)
	}
}
