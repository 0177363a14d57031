package engine_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

var inMemory = []rsm.Kind{rsm.KindMemory, rsm.KindConcurrent}

func forKinds(t *testing.T, kinds []rsm.Kind, test func(t *testing.T, kind rsm.Kind)) {
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) { test(t, kind) })
	}
}

func TestASnapshotByHandIsWhereTheNextStartBegins(t *testing.T) {
	forKinds(t, inMemory, func(t *testing.T, kind rsm.Kind) {
		s := newSnapshotHost(t, kind, engine.SnapshotPolicy{KeepEntries: -1}, nil)
		s.fill(1, 20)
		index := s.mustTake()
		if names := s.list(); len(names) != 1 || names[0].Index != index || index < 20 {
			t.Fatalf("index %d, directory holds %v", index, names)
		}
		if again := s.mustTake(); again != index || s.newest.saves != 1 {
			t.Errorf("nothing was applied, and index %d follows %d after %d saves", again, index, s.newest.saves)
		}
		if s.compacted() != index {
			t.Errorf("the log begins behind %d, want %d", s.compacted(), index)
		}
		s.fill(21, 25)
		s.powerCut()
		s.startReplica(1)
		s.wantState(25)
		if s.newest.recovered != 20 || s.newest.updated != 5 {
			t.Errorf("%d words recovered, %d replayed", s.newest.recovered, s.newest.updated)
		}
		s.fill(26, 30)
		s.restart()
		s.wantState(30)
		if c := s.hosts[0].engine.Counters(); c.Recoveries != 2 || c.SnapshotsFailed != 0 {
			t.Errorf("%+v", c)
		}
	})
}

func TestThePolicyTakesSnapshotsAndLetsTheLogGo(t *testing.T) {
	forKinds(t, append(inMemory, rsm.KindOnDisk), func(t *testing.T, kind rsm.Kind) {
		s := newSnapshotHost(t, kind, engine.SnapshotPolicy{Entries: 10, KeepEntries: 3, Retain: 1}, nil)
		for i := 1; i <= 200; i++ {
			s.fill(i, i)
			s.run(5 * time.Millisecond)
		}
		counters := s.hosts[0].engine.Counters()
		taken := counters.Snapshots + counters.MachineSyncs
		if taken < 20 || taken > 45 || counters.Compactions < 20 {
			t.Errorf("%d snapshots and %d compactions of 200 entries", taken, counters.Compactions)
		}
		if behind := 200 - s.compacted(); behind < 3 || behind > 20 {
			t.Errorf("the log begins %d entries before its end", behind)
		}
		if taken := s.eventsOf(engine.EventSnapshotTaken); len(taken) < 20 || taken[0].Index == 0 || taken[0].ShardID != 1 {
			t.Errorf("%d events: %+v", len(taken), taken)
		}
		if kind != rsm.KindOnDisk && len(s.list()) != 1 {
			t.Errorf("the directory holds %v", s.list())
		}
		s.powerCut()
		s.startReplica(1)
		s.wantState(200)
		if s.newest.updated > 25 {
			t.Errorf("%d commands were replayed", s.newest.updated)
		}
	})
}

func TestASnapshotIsDueByBytesToo(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{Bytes: 4000}, nil)
	for i := 1; i <= 100; i++ { // of some 110 bytes each, so 11 KB in all
		s.fill(i, i)
		s.run(5 * time.Millisecond)
	}
	if taken := s.hosts[0].engine.Counters().Snapshots; taken < 2 || taken > 6 {
		t.Errorf("%d snapshots", taken)
	}
}

func TestADisabledPolicyTakesOnlyWhatIsAskedFor(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{Entries: 2, Disabled: true}, nil)
	s.fill(1, 30)
	s.run(time.Second)
	if c := s.hosts[0].engine.Counters(); c.Snapshots != 0 {
		t.Errorf("%d snapshots", c.Snapshots)
	}
	s.mustTake()
}

// The log is kept from the oldest snapshot on, so that each of them is of use.
func TestTheLogReachesTheOldestSnapshot(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{KeepEntries: -1, Retain: 2}, nil)
	var indexes []uint64
	for i := range 4 {
		s.fill(i*10+1, i*10+10)
		indexes = append(indexes, s.mustTake())
	}
	if names := s.list(); len(names) != 2 || names[0].Index != indexes[3] || names[1].Index != indexes[2] || s.compacted() != indexes[2] {
		t.Errorf("snapshots at %v, kept %v, log behind %d", indexes, names, s.compacted())
	}
}

// While a machine of the simple kind is saved, Updates wait, and confirmed reads in front of them do not; a concurrent one goes on.
func TestUpdatesGoOnBesideTheSaveOfAConcurrentMachineOnly(t *testing.T) {
	forKinds(t, inMemory, func(t *testing.T, kind rsm.Kind) {
		s := newSnapshotHost(t, kind, engine.SnapshotPolicy{}, nil)
		h := s.hosts[0]
		s.fill(1, 5)
		h.held = func(worker engine.Worker) bool { return engine.CallsUser(worker) }
		var index uint64
		h.replicas[1].Snapshot(func(i uint64, err error) { index = i })
		s.run(100 * time.Millisecond)
		read, applied := 0, 0
		if err := h.replicas[1].Read(nil, func(_ any, err error) { read++ }); err != nil {
			t.Fatal(err)
		}
		s.run(100 * time.Millisecond)
		if read != 1 {
			t.Error("a read waits for the save")
		}
		if err := h.replicas[1].Propose([]byte(wordOf(6)), 0, func(rsm.Result, error) { applied++ }); err != nil {
			t.Fatal(err)
		}
		s.run(500 * time.Millisecond)
		if kind == rsm.KindMemory && applied != 0 {
			t.Error("an Update beside Save")
		}
		if kind == rsm.KindConcurrent && applied != 1 {
			t.Error("an Update waits for Save")
		}
		h.held = nil
		s.until(time.Second, "snapshot and update", func() bool { return index != 0 && applied == 1 })
		s.powerCut()
		s.startReplica(1)
		s.wantState(6)
		if s.newest.recovered != 5 {
			t.Errorf("%d words were in the snapshot", s.newest.recovered)
		}
	})
}

// Who asks for a snapshot while one is being written gets another one, since what was applied meanwhile is not in that.
func TestASnapshotIsNotOlderThanTheQuestion(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindConcurrent, engine.SnapshotPolicy{}, nil)
	h := s.hosts[0]
	s.fill(1, 5)
	var first, second uint64
	h.held = func(worker engine.Worker) bool { return engine.CallsUser(worker) }
	h.replicas[1].Snapshot(func(i uint64, err error) { first = i })
	s.run(100 * time.Millisecond)
	s.fill(6, 9)
	h.replicas[1].Snapshot(func(i uint64, err error) { second = i })
	s.run(100 * time.Millisecond)
	h.held = nil
	s.until(time.Second, "both", func() bool { return first != 0 && second != 0 })
	if second < first+4 {
		t.Errorf("snapshots at %d and %d", first, second)
	}
}

func TestWhoCannotBeSavedSaysSo(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	c.start(1)
	h := c.waitLeader(1)
	var err error
	h.replicas[1].Snapshot(func(_ uint64, e error) { err = e })
	if !errors.Is(err, engine.ErrNoSnapshots) {
		t.Errorf("a machine that is only replayed: %v", err)
	}
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{}, func(o *engine.Options) { o.Snapshots = nil })
	if _, err := s.take(1); !errors.Is(err, engine.ErrNoSnapshots) {
		t.Errorf("a host without a directory: %v", err)
	}
	s.stopReplica()
}

func TestAStoppedReplicaTakesNoSnapshot(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{}, nil)
	r := s.hosts[0].replicas[1]
	s.fill(1, 3)
	s.stopReplica()
	var err error
	r.Snapshot(func(_ uint64, e error) { err = e })
	if !errors.Is(err, engine.ErrStopped) {
		t.Error(err)
	}
}

// damage flips a bit in the middle of a snapshot.
func (s *snapshotHost) damage(name snapshot.Name) {
	s.t.Helper()
	path := s.directory.Path(name)
	file, err := s.fs.OpenReadWrite(path, "test")
	if err != nil {
		s.t.Fatal(err)
	}
	content, err := io.ReadAll(file)
	if err != nil {
		s.t.Fatal(err)
	}
	at := len(content) * 2 / 3
	_, err = file.WriteAt([]byte{content[at] ^ 4}, int64(at))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		s.t.Fatal(err)
	}
}

func TestAnOlderSnapshotServesIfTheNewestIsDamaged(t *testing.T) {
	forKinds(t, inMemory, func(t *testing.T, kind rsm.Kind) {
		s := newSnapshotHost(t, kind, engine.SnapshotPolicy{KeepEntries: -1}, nil)
		s.fill(1, 40)
		s.mustTake()
		s.fill(41, 60)
		s.mustTake()
		s.fill(61, 70)
		s.damage(s.list()[0])
		damaged := s.list()[0]
		s.powerCut()
		s.startReplica(1)
		s.wantState(70)
		if s.newest.recovered != 40 || s.newest.updated != 30 {
			t.Errorf("%d words recovered, %d replayed", s.newest.recovered, s.newest.updated)
		}
		events := s.eventsOf(engine.EventSnapshotDamaged)
		if len(events) != 1 || !errors.Is(events[0].Err, engine.ErrSnapshotDamaged) || !errors.Is(events[0].Err, snapshot.ErrDamaged) ||
			!strings.Contains(events[0].Err.Error(), fmt.Sprintf("%016x", damaged.Index)) || !strings.Contains(events[0].Err.Error(), "block 1") {
			t.Errorf("%+v", events)
		}
		if names := s.list(); len(names) != 1 || names[0] == damaged {
			t.Errorf("the directory holds %v", names)
		}
		if s.hosts[0].engine.Counters().SnapshotsDamaged != 1 {
			t.Error("it was not counted")
		}
	})
}

// With no snapshot that reaches the log the replica is started all the same, abstains, and says why.
func TestAReplicaWithoutAWholeSnapshotIsDamaged(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{KeepEntries: -1, Retain: 1}, nil)
	s.fill(1, 40)
	s.mustTake()
	s.fill(41, 41) // makes it durable that log was let go of
	s.damage(s.list()[0])
	s.powerCut()
	s.startReplica(1)
	s.run(5 * time.Second)
	events := s.eventsOf(engine.EventReplicaDamaged)
	if len(events) != 1 || !errors.Is(events[0].Err, engine.ErrSnapshotDamaged) || s.hosts[0].replicas[1].Leading() {
		t.Errorf("%+v, leads: %v", events, s.hosts[0].replicas[1].Leading())
	}
	if len(s.list()) != 1 || s.compacted() == 0 {
		t.Error("what is left is not kept")
	}
}

// A damaged snapshot that the log can do without is passed over.
func TestADamagedSnapshotDoesNotMatterToAWholeLog(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{}, nil)
	s.fill(1, 10)
	s.mustTake()
	s.damage(s.list()[0])
	s.powerCut()
	s.startReplica(1)
	s.wantState(10)
	if len(s.eventsOf(engine.EventSnapshotDamaged)) != 1 || len(s.list()) != 0 {
		t.Errorf("%+v, directory holds %v", s.events, s.list())
	}
}

func TestAMachineThatCannotRecoverIsQuarantined(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{KeepEntries: -1}, nil)
	s.fill(1, 10)
	s.mustTake()
	s.fill(11, 15)
	cause := errors.New("out of ink")
	s.hooks.recover = func() error { return cause }
	s.powerCut()
	s.startReplica(1)
	s.run(3 * time.Second)
	events := s.eventsOf(engine.EventReplicaQuarantined)
	if len(events) != 1 || !errors.Is(events[0].Err, cause) || len(s.eventsOf(engine.EventSnapshotDamaged)) != 0 || s.made != 2 {
		t.Fatalf("%d machines made, %+v", s.made, events)
	}
	s.hooks.recover = nil
	s.restart()
	s.wantState(15)
}

func TestASnapshotOfAnotherShardIsNotRecoveredFrom(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{KeepEntries: -1, Retain: 1}, nil)
	s.startReplica(2)
	s.waitLeader(2)
	if _, err := s.propose(s.hosts[0], 2, "foreign"); err != nil {
		t.Fatal(err)
	}
	s.fill(1, 10)
	index := s.mustTake()
	if _, err := s.take(2); err != nil {
		t.Fatal(err)
	}
	other := s.directory.List(2, 1)[0]
	if err := s.fs.Rename(s.directory.Path(other), s.directory.Path(snapshot.Name{ShardID: 1, ReplicaID: 1, Index: index})); err != nil {
		t.Fatal(err)
	}
	s.hosts[0].engine.StopReplica(s.hosts[0].replicas[1], func(error) {})
	s.run(time.Second)
	s.startReplica(1)
	events := s.eventsOf(engine.EventSnapshotDamaged)
	if len(events) != 1 || !errors.Is(events[0].Err, snapshot.ErrForeign) {
		t.Errorf("%+v", events)
	}
}

// What was received and not said to be installed when the power went is somebody's state, and none of the log that is here.
func TestASnapshotThatWasReceivedOnlyIsRemoved(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{}, nil)
	s.fill(1, 10)
	pending, err := s.directory.Create()
	if err != nil {
		t.Fatal(err)
	}
	stray := snapshot.Name{ShardID: 1, ReplicaID: 1, Index: 500}
	writeSnapshotFile(t, pending, stray, 2, 9)
	if err := s.directory.Publish(snapshot.Finished{Pending: pending, Name: stray}); err != nil {
		t.Fatal(err)
	}
	s.powerCut()
	s.startReplica(1)
	s.wantState(10)
	if len(s.list()) != 0 || len(s.eventsOf(engine.EventReplicaDamaged)) != 0 {
		t.Errorf("directory holds %v, %+v", s.list(), s.eventsOf(engine.EventReplicaDamaged))
	}
}

// A snapshot of one's own beyond the end of the log shows that the log has lost something.
func TestALogThatEndsBeforeItsSnapshotAbstains(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{}, nil)
	s.fill(1, 10)
	pending, err := s.directory.Create()
	if err != nil {
		t.Fatal(err)
	}
	beyond := snapshot.Name{ShardID: 1, ReplicaID: 1, Index: 500}
	writeSnapshotFile(t, pending, beyond, 1, 1)
	if err := s.directory.Publish(snapshot.Finished{Pending: pending, Name: beyond}); err != nil {
		t.Fatal(err)
	}
	s.powerCut()
	s.startReplica(1)
	s.run(5 * time.Second)
	if len(s.eventsOf(engine.EventReplicaAbstaining)) == 0 || s.hosts[0].replicas[1].Leading() || !slices.Equal(s.list(), []snapshot.Name{beyond}) {
		t.Errorf("%+v, leads %v, directory holds %v", s.eventsOf(engine.EventReplicaAbstaining), s.hosts[0].replicas[1].Leading(), s.list())
	}
}

// A replica whose whole log is gone while its snapshots are there does not begin the shard anew.
func TestSnapshotsWithoutALogAreDamage(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{}, nil)
	s.fill(1, 10)
	s.mustTake()
	s.stopReplica()
	group := s.hosts[0].log.NewGroup()
	group.Remove(keyOf(1, 1))
	s.hosts[0].log.Commit(groupsOf(group), func(error) {})
	delete(s.hosts[0].promises.records, keyOf(1, 1))
	s.startReplica(1)
	s.run(5 * time.Second)
	if len(s.eventsOf(engine.EventReplicaDamaged)) != 1 || s.hosts[0].replicas[1].Leading() || len(s.list()) != 1 {
		t.Errorf("%+v", s.eventsOf(engine.EventReplicaDamaged))
	}
}

func TestRemoveReplicaDataRemovesSnapshots(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{}, nil)
	s.fill(1, 10)
	s.mustTake()
	s.stopReplica()
	var removed error = engine.ErrBusy
	s.hosts[0].engine.RemoveReplicaData(1, 1, func(err error) { removed = err })
	s.run(time.Second)
	if removed != nil || len(s.list()) != 0 {
		t.Fatalf("%v, directory holds %v", removed, s.list())
	}
	s.powerCut()
	s.startReplica(1)
	s.waitLeader(1)
	s.wantState(0)
}
