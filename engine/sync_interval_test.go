package engine_test

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
)

const syncInterval = 10 * time.Second

// newSyncedHost is one whose machine is synced for the time alone.
func newSyncedHost(t *testing.T, kind rsm.Kind, policy engine.SnapshotPolicy) *snapshotHost {
	s := newSnapshotHost(t, kind, policy, nil)
	s.run(time.Minute) // what was applied when it began is synced
	s.disk.syncs = 0
	return s
}

// watching says whether the watch waits for an instant.
func (s *snapshotHost) watching() bool {
	s.t.Helper()
	for i, worker := range s.hosts[0].workers {
		if worker.Name() == "watch" {
			return worker.Ready() || s.hosts[0].deadlines[i] != raft.Never
		}
	}
	s.t.Fatal("there is no watch")
	return false
}

// One command is synced, between half of the interval and all of it after it was applied, and its log is let go of. A shard at rest is left alone.
func TestAMachineOnDiskIsSyncedInTime(t *testing.T) {
	s := newSyncedHost(t, rsm.KindOnDisk, engine.SnapshotPolicy{SyncInterval: syncInterval, KeepEntries: -1})
	for i := 1; i <= 20; i++ {
		s.fill(i, i)
		begun, synced := s.now, s.disk.syncs
		s.until(time.Minute, "a Sync", func() bool { return s.disk.syncs > synced })
		if took := time.Duration(s.now - begun); took < syncInterval/2-time.Second || took > syncInterval+time.Second {
			t.Errorf("it was synced after %s", took)
		}
		s.run(time.Second)
		if index := s.hosts[0].replicas[1].Applied(); s.disk.syncedAt != index || s.compacted() != index {
			t.Errorf("applied is %d, synced %d, the log is let go of up to %d", index, s.disk.syncedAt, s.compacted())
		}
	}
	s.run(10 * time.Minute)
	if s.disk.syncs != 20 || s.watching() {
		t.Errorf("%d Syncs of 20 commands, the watch waits: %t", s.disk.syncs, s.watching())
	}
	s.powerCut()
	s.startReplica(1)
	s.wantState(20)
	if s.newest.updated != 0 {
		t.Errorf("%d commands were replayed", s.newest.updated)
	}
}

// A Sync by hand ends the interval: what is applied behind it begins another one, although the watch had the instant of the first.
func TestASyncByHandBeginsAnotherInterval(t *testing.T) {
	s := newSyncedHost(t, rsm.KindOnDisk, engine.SnapshotPolicy{SyncInterval: syncInterval})
	s.fill(1, 1)
	s.run(4 * time.Second)
	s.mustTake()
	s.run(time.Minute)
	if s.disk.syncs != 1 || s.watching() {
		t.Errorf("%d Syncs, and nothing was applied behind the one by hand; the watch waits: %t", s.disk.syncs, s.watching())
	}
	for i := 2; i < 12; i++ {
		s.fill(i, i)
		s.run(4 * time.Second)
		synced := s.disk.syncs
		s.mustTake()
		if s.disk.syncs != synced+1 || synced != i-1 {
			t.Fatalf("round %d: %d Syncs before the one by hand, %d behind it", i, synced, s.disk.syncs)
		}
		begun := s.now
		s.fill(100+i, 100+i)
		s.run(syncInterval/2 - time.Second)
		if s.disk.syncs != i {
			t.Fatalf("round %d: synced at the instant of an interval that was over", i)
		}
		s.until(time.Minute, "a Sync", func() bool { return s.disk.syncs > i })
		if took := time.Duration(s.now - begun); took > syncInterval+time.Second {
			t.Errorf("it was synced after %s", took)
		}
		s.disk.syncs = i
	}
}

// A Sync that takes longer than the interval is followed by another one, if there is something for it.
func TestAMachineIsSyncedAgainBehindALongSync(t *testing.T) {
	s := newSyncedHost(t, rsm.KindOnDisk, engine.SnapshotPolicy{SyncInterval: syncInterval})
	stands := true
	s.hooks.sync = func() error {
		s.routines.stand(func() bool { return stands })
		return nil
	}
	s.besideOthers()
	s.fill(1, 1)
	s.run(2 * syncInterval)
	s.fill(2, 2) // the machine has it when it syncs, but it came too late for the Sync to say so
	s.run(2 * syncInterval)
	if s.disk.syncs != 0 || !s.watching() {
		t.Fatalf("%d Syncs; the watch waits: %t", s.disk.syncs, s.watching())
	}
	stands = false
	s.until(time.Minute, "another Sync", func() bool { return s.disk.syncs == 2 })
	s.run(10 * time.Minute)
	if s.disk.syncs != 2 || s.watching() {
		t.Errorf("%d Syncs; the watch waits: %t", s.disk.syncs, s.watching())
	}
}

// Commands that come all the time are synced once in each interval.
func TestABusyMachineOnDiskIsSyncedOnceInAnInterval(t *testing.T) {
	s := newSyncedHost(t, rsm.KindOnDisk, engine.SnapshotPolicy{SyncInterval: syncInterval})
	begun := s.now
	for i := 1; s.disk.syncs < 10 && i <= 1000; i++ {
		s.fill(i, i)
		s.run(200 * time.Millisecond)
	}
	if took := time.Duration(s.now - begun); s.disk.syncs != 10 || took < 10*(syncInterval/2) || took > 10*(syncInterval+time.Second) {
		t.Errorf("%d Syncs in %s", s.disk.syncs, took)
	}
}

func TestTimeAloneSyncsNothingElse(t *testing.T) {
	for name, test := range map[string]struct {
		kind   rsm.Kind
		policy engine.SnapshotPolicy
	}{
		"in memory":        {rsm.KindMemory, engine.SnapshotPolicy{SyncInterval: syncInterval}},
		"without interval": {rsm.KindOnDisk, engine.SnapshotPolicy{SyncInterval: -1}},
		"disabled":         {rsm.KindOnDisk, engine.SnapshotPolicy{SyncInterval: syncInterval, Disabled: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSyncedHost(t, test.kind, test.policy)
			s.fill(1, 3)
			s.run(5 * time.Minute)
			if s.disk.syncs != 0 || len(s.list()) != 0 || s.watching() {
				t.Errorf("%d Syncs, snapshots %v, the watch waits: %t", s.disk.syncs, s.list(), s.watching())
			}
		})
	}
}

// What is to be synced when a replica is stopped is left alone, and its place in the watch is given up.
func TestAStoppedMachineIsNotSynced(t *testing.T) {
	s := newSyncedHost(t, rsm.KindOnDisk, engine.SnapshotPolicy{SyncInterval: syncInterval})
	s.fill(1, 3)
	s.stopReplica()
	synced := s.disk.syncs
	s.run(time.Minute)
	if s.disk.syncs != synced || s.watching() {
		t.Errorf("%d Syncs, %d before; the watch waits: %t", s.disk.syncs, synced, s.watching())
	}
}
