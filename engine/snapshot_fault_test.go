package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
)

// At each call of the file system that taking a snapshot makes, in turn, that call fails, for lack of room or in the device. The caller is told
// why, the shard goes on, no log is let go of, and what the machine holds is in the snapshot that is taken in the end.
func TestEveryFailedCallEndsTheSnapshotAlone(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		t.Run(cause.Error(), func(t *testing.T) {
			failed := 0
			for at := 1; ; at++ {
				calls, armed := 0, false
				s := &snapshotHost{kind: rsm.KindMemory, policy: engine.SnapshotPolicy{KeepEntries: -1}, fs: vfs.NewCrashableMem(), hooks: &hooks{}, disk: &platter{}}
				s.files = errorfs.Wrap(s.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
					if !armed || op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
						return nil
					}
					if calls++; calls == at {
						return cause
					}
					return nil
				}))
				s.testCluster = newTestCluster(t, 1, s.change)
				s.startReplica(1)
				s.waitLeader(1)
				s.fill(1, 10)
				armed = true
				_, err := s.take(1)
				if calls < at {
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				failed++
				// Old files that stay, or a pending one that is not removed, are of no consequence.
				if err != nil && (!errors.Is(err, engine.ErrSnapshotFailed) || !errors.Is(err, cause)) {
					t.Fatalf("call %d: %v", at, err)
				}
				if err != nil && s.compacted() != 0 {
					t.Fatalf("call %d: the log was let go of", at)
				}
				s.fill(11, 15)
				s.until(10*time.Second, "a snapshot by itself, or none was needed", func() bool {
					return s.hosts[0].engine.Counters().Snapshots > 0
				})
				armed = false
				s.powerCut()
				s.startReplica(1)
				s.wantState(15)
			}
			if failed < 5 {
				t.Fatalf("only %d calls failed", failed)
			}
		})
	}
}

// A snapshot that fails is tried again after a second, then two, four, and so on.
func TestFailedSnapshotsAreTriedAgainLaterEachTime(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{}, nil)
	var tries []raft.Instant
	cause := errors.New("out of ink")
	s.hooks.save = func() error {
		tries = append(tries, s.now)
		return cause
	}
	s.fill(1, 3)
	if _, err := s.take(1); !errors.Is(err, cause) || !errors.Is(err, engine.ErrSnapshotFailed) {
		t.Fatal(err)
	}
	s.run(40 * time.Second)
	for i := 1; i < len(tries); i++ {
		want := time.Second << (i - 1)
		if pause := time.Duration(tries[i] - tries[i-1]); pause < want || pause > want+200*time.Millisecond {
			t.Errorf("pause %d is %v, want %v", i, pause, want)
		}
	}
	if len(tries) != 6 || len(s.eventsOf(engine.EventSnapshotFailed)) != 6 {
		t.Errorf("%d tries, %d events in 40 s", len(tries), len(s.eventsOf(engine.EventSnapshotFailed)))
	}
	s.hooks.save = func() error { panic("no paper") }
	s.run(40 * time.Second)
	events := s.eventsOf(engine.EventSnapshotFailed)
	if last := events[len(events)-1]; !errors.Is(last.Err, rsm.ErrMachinePanicked) || !strings.Contains(last.Err.Error(), "no paper") {
		t.Errorf("%v", last.Err)
	}
	s.hooks.save = nil
	s.until(5*time.Minute, "taken", func() bool { return s.hosts[0].engine.Counters().Snapshots == 1 })
	s.wantState(3)
}

// A host without room begins no snapshot, and takes it when there is room again.
func TestNoSnapshotIsBegunOnAFullDisk(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{}, nil)
	s.fill(1, 3)
	s.hosts[0].engine.SetDiskFull(true)
	if _, err := s.take(1); !errors.Is(err, engine.ErrDiskFull) {
		t.Fatal(err)
	}
	s.run(10 * time.Second)
	if s.newest.saves != 0 {
		t.Error("a snapshot was begun")
	}
	s.hosts[0].engine.SetDiskFull(false)
	s.until(time.Minute, "taken", func() bool { return s.hosts[0].engine.Counters().Snapshots == 1 })
}

// A state machine that does not return from Save is reported within five seconds, once; other shards go on taking snapshots in the places that
// are left; stopping it ends with ErrStuck; and when it does return nothing is published, and the shard can be started again.
func TestAMachineThatStandsStillIsReportedAndKeepsOnePlace(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{}, func(o *engine.Options) {
		o.SnapshotWorkers, o.MaxStopWait = 2, 3*time.Second
	})
	h := s.hosts[0]
	s.besideOthers()
	s.startReplica(2)
	s.waitLeader(2)
	s.fill(1, 5)
	stands := true
	s.hooks.save = func() error {
		if stands {
			s.routines.stand(func() bool { return stands })
		}
		return nil
	}
	h.replicas[1].Snapshot(func(uint64, error) {})
	s.until(time.Second, "it is inside Save", func() bool { return s.newest != nil && len(s.routines.running) == 1 })
	s.hooks.save = nil
	began := s.now
	s.until(10*time.Second, "the report", func() bool { return len(s.eventsOf(engine.EventMachineStuck)) > 0 })
	event := s.eventsOf(engine.EventMachineStuck)[0]
	if took := time.Duration(s.now - began); took > 5*time.Second || !errors.Is(event.Err, engine.ErrMachineStuck) || event.ShardID != 1 ||
		!strings.Contains(event.Err.Error(), "Save") {
		t.Errorf("after %v: %v", took, event.Err)
	}
	s.run(20 * time.Second)
	if n := len(s.eventsOf(engine.EventMachineStuck)); n != 1 {
		t.Errorf("reported %d times", n)
	}
	for i := range 3 {
		if _, err := s.propose(h, 2, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.take(2); err != nil {
			t.Fatal(err)
		}
	}
	var stopped []error
	h.engine.StopReplica(h.replicas[1], func(err error) { stopped = append(stopped, err) })
	s.until(10*time.Second, "an answer", func() bool { return len(stopped) > 0 })
	if !errors.Is(stopped[0], engine.ErrStuck) {
		t.Errorf("stop: %v", stopped[0])
	}
	if _, err := s.tryStart(1); !errors.Is(err, engine.ErrAlreadyStarted) {
		t.Errorf("started beside the one that does not stop: %v", err)
	}
	stands = false
	s.run(time.Second)
	if len(s.list()) != 0 || len(stopped) != 1 {
		t.Errorf("the directory holds %v, %d answers", s.list(), len(stopped))
	}
	s.startReplica(1)
	s.waitLeader(1)
	s.wantState(5)
}

// A replica whose machine does not come back from Recover is given up when the host is closed, and said to be stuck.
func TestAStartWhoseMachineDoesNotReturnIsGivenUp(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{}, func(o *engine.Options) { o.MaxStopWait = 3 * time.Second })
	s.fill(1, 5)
	s.mustTake()
	s.stopReplica()
	h := s.hosts[0]
	h.held = func(worker engine.Worker) bool { return engine.CallsUser(worker) }
	var answers []error
	h.engine.StartReplica(engine.ReplicaOptions{ShardID: 1, ReplicaID: 1, Members: s.members()}, s.factory,
		func(_ *engine.Replica, err error) { answers = append(answers, err) })
	began := s.now
	s.until(10*time.Second, "the report", func() bool { return len(s.eventsOf(engine.EventMachineStuck)) > 0 })
	if took := time.Duration(s.now - began); took > 5*time.Second || len(answers) != 0 {
		t.Errorf("after %v, %v", took, answers)
	}
	h.engine.AbandonStarts()
	s.until(10*time.Second, "an answer", func() bool { return len(answers) > 0 })
	if !errors.Is(answers[0], engine.ErrStuck) {
		t.Errorf("start: %v", answers[0])
	}
	h.held = nil
	s.run(time.Second)
	if len(answers) != 1 {
		t.Errorf("%d answers", len(answers))
	}
	s.startReplica(1)
	s.wantState(5)
}

// No more snapshots are prepared at a time than there are places, and none is prepared that would wait for one.
func TestThePoolIsBounded(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{}, func(o *engine.Options) { o.SnapshotWorkers = 3 })
	h := s.hosts[0]
	for shard := uint64(2); shard <= 20; shard++ {
		s.startReplica(shard)
	}
	for shard := uint64(1); shard <= 20; shard++ {
		s.waitLeader(shard)
		if _, err := s.propose(h, shard, "x"); err != nil {
			t.Fatal(err)
		}
	}
	h.held = func(worker engine.Worker) bool { return engine.CallsUser(worker) }
	taken := 0
	for shard := uint64(1); shard <= 20; shard++ {
		h.replicas[shard].Snapshot(func(_ uint64, err error) {
			if taken++; err != nil {
				t.Error(err)
			}
		})
	}
	s.run(time.Second)
	held := 0
	for shard := uint64(1); shard <= 20; shard++ {
		done := false
		if err := h.replicas[shard].Propose([]byte("y"), 0, func(rsm.Result, error) { done = true }); err != nil {
			t.Fatal(err)
		}
		s.run(100 * time.Millisecond)
		if !done {
			held++
		}
	}
	if held != 3 {
		t.Errorf("%d machines are held up", held)
	}
	h.held = nil
	s.until(10*time.Second, "all taken", func() bool { return taken == 20 })
}

// Shards that are loaded alike do not take their snapshots at the same time.
func TestSnapshotsOfManyShardsSpread(t *testing.T) {
	const shards, every = 40, 40
	s := newSnapshotHost(t, rsm.KindConcurrent, engine.SnapshotPolicy{Entries: every}, nil)
	h := s.hosts[0]
	for shard := uint64(2); shard <= shards; shard++ {
		s.startReplica(shard)
	}
	for shard := uint64(1); shard <= shards; shard++ {
		s.waitLeader(shard)
	}
	most, before := uint64(0), h.engine.Counters().Snapshots
	for round := range 3 * every {
		for shard := uint64(1); shard <= shards; shard++ {
			if err := h.replicas[shard].Propose([]byte(fmt.Sprint(round)), 0, func(rsm.Result, error) {}); err != nil {
				t.Fatal(err)
			}
		}
		s.run(20 * time.Millisecond)
		now := h.engine.Counters().Snapshots
		most, before = max(most, now-before), now
	}
	if before < 3*shards-shards/2 || most > shards/4 {
		t.Errorf("%d snapshots, up to %d at a time", before, most)
	}
}

// What is finished together shares one sync of the directory.
func TestSnapshotsFinishedTogetherShareASync(t *testing.T) {
	syncs := 0
	mem := vfs.NewCrashableMem()
	s := &snapshotHost{kind: rsm.KindConcurrent, fs: mem, hooks: &hooks{}, disk: &platter{}, options: func(o *engine.Options) { o.SnapshotWorkers = 8 }}
	s.files = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync && strings.HasSuffix(op.Path, "snapshots") {
			syncs++
		}
		return nil
	}))
	s.testCluster = newTestCluster(t, 1, s.change)
	h := s.hosts[0]
	for shard := uint64(1); shard <= 8; shard++ {
		s.startReplica(shard)
	}
	for shard := uint64(1); shard <= 8; shard++ {
		s.waitLeader(shard)
		if _, err := s.propose(h, shard, "x"); err != nil {
			t.Fatal(err)
		}
	}
	syncs = 0
	h.held = func(worker engine.Worker) bool { return worker.Name() == "snapshot keeper" }
	taken := 0
	for shard := uint64(1); shard <= 8; shard++ {
		h.replicas[shard].Snapshot(func(uint64, error) { taken++ })
	}
	s.run(time.Second)
	if taken != 0 {
		t.Error("said to be durable before the directory was synced")
	}
	h.held = nil
	s.until(time.Second, "all taken", func() bool { return taken == 8 })
	if syncs != 1 {
		t.Errorf("%d syncs of the directory", syncs)
	}
}
