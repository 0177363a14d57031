package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
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
