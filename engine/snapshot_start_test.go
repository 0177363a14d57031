package engine_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

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

// setVersion changes the version in a snapshot, and the checksum of its header with it if that is to hold.
func (s *snapshotHost) setVersion(name snapshot.Name, sealed bool, change func(version byte) byte) {
	s.t.Helper()
	file, err := s.fs.OpenReadWrite(s.directory.Path(name), "test")
	if err != nil {
		s.t.Fatal(err)
	}
	content, err := io.ReadAll(file)
	if err != nil {
		s.t.Fatal(err)
	}
	content[8] = change(content[8])
	if sealed {
		sealSnapshotHeader(content)
	}
	_, err = file.WriteAt(content, 0)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		s.t.Fatal(err)
	}
}

// sealSnapshotHeader makes the checksum in the header of a snapshot fit what the header says.
func sealSnapshotHeader(content []byte) {
	end := 16 + int(binary.LittleEndian.Uint32(content[12:]))
	binary.LittleEndian.PutUint32(content[end:], crc32.Checksum(content[:end], castagnoli))
}

// One flipped bit makes a later version of any. The start was refused for it; now it is damage, and the snapshot before it serves.
func TestARottenVersionOfASnapshotIsDamage(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{KeepEntries: -1}, nil)
	s.fill(1, 10)
	s.mustTake()
	s.fill(11, 20)
	s.mustTake()
	s.stopReplica()
	rotten := s.list()[0]
	s.setVersion(rotten, false, func(version byte) byte { return version ^ 0x80 })
	s.startReplica(1)
	s.wantState(20)
	events := s.eventsOf(engine.EventSnapshotDamaged)
	if s.newest.recovered != 10 || len(events) != 1 || !errors.Is(events[0].Err, snapshot.ErrDamaged) || errors.Is(events[0].Err, snapshot.ErrVersion) ||
		slices.Contains(s.list(), rotten) {
		t.Errorf("%d words recovered, %+v, directory holds %v", s.newest.recovered, events, s.list())
	}
}

// A snapshot of a later format is no damage: the start says so, nothing is removed, and a program that reads it finds everything.
func TestASnapshotOfALaterFormatStopsTheStart(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{KeepEntries: -1}, nil)
	s.fill(1, 10)
	s.mustTake()
	s.stopReplica()
	newer, written := s.list()[0], byte(0)
	s.setVersion(newer, true, func(version byte) byte { written = version; return 200 })
	if _, err := s.tryStart(1); !errors.Is(err, snapshot.ErrVersion) || !strings.Contains(err.Error(), s.directory.Path(newer)) {
		t.Errorf("%v", err)
	}
	if len(s.eventsOf(engine.EventSnapshotDamaged)) != 0 || !slices.Contains(s.list(), newer) {
		t.Errorf("%+v, directory holds %v", s.events, s.list())
	}
	s.setVersion(newer, true, func(byte) byte { return written })
	s.startReplica(1)
	s.wantState(10)
	if s.newest.recovered != 10 {
		t.Errorf("%d words recovered", s.newest.recovered)
	}
}

// A snapshot that cannot be read is passed over like a damaged one, and kept: the disk may give it back.
func TestASnapshotThatCannotBeReadIsKept(t *testing.T) {
	s := newSnapshotHost(t, rsm.KindMemory, engine.SnapshotPolicy{}, nil)
	s.fill(1, 10)
	s.mustTake()
	s.fill(11, 20)
	newest := s.mustTake()
	mem, unreadable := s.fs, true
	s.files = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if unreadable && op.Kind == errorfs.OpFileRead && strings.HasSuffix(op.Path, fmt.Sprintf("%016x", newest)) {
			return syscall.EIO
		}
		return nil
	}))
	_ = s.hosts[0].transport.Close()
	s.hosts[0].open(s.change)
	s.startReplica(1)
	s.wantState(20)
	if damaged := s.eventsOf(engine.EventSnapshotDamaged); s.newest.recovered != 10 || len(s.list()) != 2 || len(damaged) != 1 || !errors.Is(damaged[0].Err, syscall.EIO) {
		t.Errorf("%d words recovered, directory holds %v, %+v", s.newest.recovered, s.list(), damaged)
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
