package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// A machine on disk says where it is, and the log is kept from its last sync on: what a power cut takes from it is replayed.
func TestAMachineOnDiskIsReplayedFromWhereItIs(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindOnDisk, engine.SnapshotPolicy{KeepEntries: -1}, nil)
	s.fill(1, 20)
	index := s.mustTake()
	if s.disk.syncs != 1 || s.disk.syncedAt != index || s.compacted() != index || len(s.list()) != 0 {
		t.Errorf("index %d, %+v, log behind %d, directory holds %v", index, s.disk, s.compacted(), s.list())
	}
	s.fill(21, 30)
	s.powerCut()
	if s.disk.writtenAt != index {
		t.Fatalf("the machine was not set back: %d", s.disk.writtenAt)
	}
	s.startReplica(1)
	s.wantState(30)
	if s.newest.updated != 10 {
		t.Errorf("%d commands were replayed", s.newest.updated)
	}
	s.restart() // in order: the machine holds everything
	s.wantState(30)
	if s.newest.updated != 0 {
		t.Errorf("%d commands were replayed to a machine that had them", s.newest.updated)
	}
	if c := s.hosts[0].engine.Counters(); c.Snapshots != 0 {
		t.Errorf("%+v", c)
	}
}

func TestAMachineOnDiskThatLostItsDataIsDamaged(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindOnDisk, engine.SnapshotPolicy{KeepEntries: -1}, nil)
	s.fill(1, 20)
	s.mustTake()
	s.fill(21, 22)
	s.stopReplica()
	s.disk.written, s.disk.writtenAt = nil, 0
	s.startReplica(1)
	s.run(5 * time.Second)
	events := s.eventsOf(engine.EventReplicaDamaged)
	if len(events) != 1 || !errors.Is(events[0].Err, rsm.ErrStateBehind) || s.hosts[0].replicas[1].Leading() {
		t.Errorf("%+v", events)
	}
}

func TestAMachineOnDiskAheadOfTheLogAbstains(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindOnDisk, engine.SnapshotPolicy{}, nil)
	s.fill(1, 5)
	s.stopReplica()
	s.disk.writtenAt += 100
	s.startReplica(1)
	s.run(5 * time.Second)
	if len(s.eventsOf(engine.EventReplicaAbstaining)) == 0 || s.hosts[0].replicas[1].Leading() {
		t.Errorf("%+v", s.events)
	}
}

func TestAFailedSyncQuarantinesItsMachine(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindOnDisk, engine.SnapshotPolicy{KeepEntries: -1}, nil)
	s.fill(1, 5)
	cause := errors.New("out of ink")
	s.hooks.sync = func() error { return cause }
	if _, err := s.take(1); !errors.Is(err, cause) || !errors.Is(err, engine.ErrQuarantined) {
		t.Errorf("%v", err)
	}
	s.run(time.Minute)
	if n := len(s.eventsOf(engine.EventReplicaQuarantined)); n != 1 || s.compacted() != 0 {
		t.Errorf("%d events, log behind %d", n, s.compacted())
	}
	s.hooks.sync = nil
	s.restart()
	s.wantState(5)
}

func TestAMachineThatCannotBeOpenedIsNotStarted(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindOnDisk, engine.SnapshotPolicy{}, nil)
	s.fill(1, 5)
	s.stopReplica()
	cause := errors.New("out of ink")
	s.hooks.open = func() error { return cause }
	if _, err := s.tryStart(1); !errors.Is(err, cause) {
		t.Error(err)
	}
	s.hooks.open = func() error { panic("no paper") }
	if _, err := s.tryStart(1); !errors.Is(err, rsm.ErrMachinePanicked) {
		t.Error(err)
	}
	s.hooks.open = nil
	s.startReplica(1)
	s.wantState(5)
}

// A log that begins behind a snapshot cannot be given to a machine of another kind: the start is refused, and nothing is lost.
func TestAMachineOfAnotherKindIsNotStarted(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{KeepEntries: -1, Retain: 1}, nil)
	s.fill(1, 20)
	s.mustTake()
	s.stopReplica()
	var err error
	s.hosts[0].engine.StartReplica(engine.ReplicaOptions{ShardID: 1, ReplicaID: 1, Members: s.members()},
		func(uint64, uint64) (rsm.StateMachine, error) { return &recorder{}, nil }, func(_ *engine.Replica, e error) { err = e })
	s.run(time.Second)
	if !errors.Is(err, engine.ErrNoSnapshots) {
		t.Errorf("a machine that is only replayed: %v", err)
	}
	s.hooks.made = 0
	s.kind = rsm.KindOnDisk
	if _, err := s.tryStart(1); !errors.Is(err, rsm.ErrSnapshotKind) {
		t.Errorf("a machine on disk: %v", err)
	}
	s.kind = rsm.KindConcurrent
	s.startReplica(1)
	s.wantState(20)
}

// A replica that is healed begins with nothing: the snapshots of its former self are removed before its log is.
func TestAHealedReplicaHasNoOldSnapshots(t *testing.T) {
	directories := map[string]*snapshot.Directory{}
	c := newTestCluster(t, 3, func(o *engine.Options) {
		directory, err := snapshot.OpenDirectory(vfs.NewMem(), "snapshots")
		if err != nil {
			t.Fatal(err)
		}
		directories[o.Address], o.Snapshots = directory, directory
	})
	made := map[string][]*words{}
	for i, h := range c.hosts {
		h.engine.StartReplica(engine.ReplicaOptions{ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members()},
			func(uint64, uint64) (rsm.StateMachine, error) {
				m := &words{hooks: &hooks{}}
				made[h.address] = append(made[h.address], m)
				return m, nil
			}, func(r *engine.Replica, err error) {
				if err != nil {
					t.Error(err)
				}
				h.replicas[1] = r
			})
	}
	leader := c.waitLeader(1)
	for range 10 {
		if _, err := c.propose(leader, 1, "x"); err != nil {
			t.Fatal(err)
		}
	}
	healed := c.hosts[0]
	if healed == leader {
		healed = c.hosts[1]
	}
	taken := 0
	healed.replicas[1].Snapshot(func(_ uint64, err error) {
		if taken++; err != nil {
			t.Error(err)
		}
	})
	c.until(time.Second, "taken", func() bool { return taken == 1 })
	healed.replicas[1].Repair(func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	c.until(time.Minute, "healed", func() bool { return healed.engine.Counters().ReplicasHealed == 1 })
	if left := directories[healed.address].All(); len(left) != 0 {
		t.Errorf("the directory holds %v", left)
	}
	c.until(time.Minute, "brought up again", func() bool { return len(made[healed.address]) == 2 && len(made[healed.address][1].list) == 10 })
	healed.replicas[1].Snapshot(func(_ uint64, err error) {
		if taken++; err != nil {
			t.Error(err)
		}
	})
	c.until(time.Second, "taken anew", func() bool { return taken == 2 && len(directories[healed.address].All()) == 1 })
}

// While a view is written, in a coroutine that stops at each write, Updates go on, and what is written is what was there at first.
func TestASaveIsInterleavedWithUpdates(t *testing.T) {
	s := &snapshotHost{kind: rsm.KindConcurrent, policy: engine.SnapshotPolicy{Entries: 8, KeepEntries: -1, Retain: 1}, fs: vfs.NewCrashableMem(),
		hooks: &hooks{}, disk: &platter{}, routines: newCoroutines()}
	s.files = s.fs
	t.Cleanup(s.routines.end)
	s.hooks.inSave = func() { s.routines.hand() }
	s.testCluster = newTestCluster(t, 1, s.change)
	s.hosts[0].beside = s.routines
	s.startReplica(1)
	s.waitLeader(1)
	beside := 0
	for i := 1; i <= 100; i++ {
		s.fill(i, i)
		if len(s.routines.running) > 0 {
			beside++
		}
	}
	if beside < 10 {
		t.Errorf("only %d Updates were applied beside a Save", beside)
	}
	s.until(time.Second, "all over", func() bool { return len(s.routines.running) == 0 })
	s.powerCut()
	s.hosts[0].beside = s.routines
	s.startReplica(1)
	s.wantState(100)
}
