package seglog

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

func TestValidateListsEveryFault(t *testing.T) {
	err := Options{SegmentBytes: 1, RewriteBytesPerSecond: -1, IdleDelay: -1}.Validate()
	if !errors.Is(err, ErrOptions) {
		t.Fatalf("%v", err)
	}
	for _, field := range []string{"Dir", "SegmentBytes", "RewriteBytesPerSecond", "IdleDelay"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in: %v", field, err)
		}
	}
	if _, err := Open(Options{}); !errors.Is(err, ErrOptions) {
		t.Errorf("open: %v", err)
	}
}

// A directory is one host's, of one version, and open once.
func TestWhoseDirectory(t *testing.T) {
	memory := vfs.NewMem()
	open := func(owner uint64) (*Store, error) {
		options := manual(memory)
		options.Owner = owner
		return Open(options)
	}
	first, err := open(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(0); err == nil || !strings.Contains(err.Error(), "lock") {
		t.Errorf("opened twice: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		owner uint64
		want  error
	}{{7, nil}, {8, ErrOwner}, {7, nil}, {0, nil}} {
		s, err := open(step.owner)
		if !errors.Is(err, step.want) {
			t.Fatalf("owner %d: %v, want %v", step.owner, err, step.want)
		}
		if err == nil {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	newer := encodeFormat(7)
	le.PutUint32(newer[16:], formatVersion+1)
	le.PutUint32(newer[28:], footerChecksum(newer[:28]))
	writeFile(t, memory, "log/"+formatName, newer)
	if _, err := open(7); !errors.Is(err, ErrVersion) {
		t.Errorf("a newer version: %v", err)
	}
}

// A store is not begun beside the files of another one: it would be empty, and have forgotten what that one promised.
func TestOtherStoresAreLeftAlone(t *testing.T) {
	for name, want := range map[string]error{
		"MANIFEST-000001": logdb.ErrOtherStore, "notes": logdb.ErrOtherStore, segmentName(3): logdb.ErrDamaged, formatName + tempSuffix: nil, spareName(4): nil,
	} {
		memory := vfs.NewMem()
		if err := memory.MkdirAll("log/lost+found", 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, memory, "log/"+name, []byte("?"))
		s, err := Open(manual(memory))
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if err == nil {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		} else if Exists(memory, "log") {
			t.Errorf("%s: a store was begun beside it", name)
		}
	}
}

// A segment is used again once it is empty, and a full disk ends the filling of a new one, not the store (R10).
func TestSegmentsAreUsedAgain(t *testing.T) {
	full := false
	memory := vfs.NewMem()
	fs := errorfs.Wrap(memory, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full && op.Kind == errorfs.OpFileWriteAt && strings.HasSuffix(op.Path, tempSuffix) {
			return syscall.ENOSPC
		}
		return nil
	}))
	s := openManual(t, fs)
	var now time.Duration
	key := logdb.ReplicaKey{ShardID: 1, ReplicaID: 1}
	for i := range uint64(200) {
		full = i < 50
		saveAll(t, s, &raftpb.Save{ShardID: 1, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(1, 1, i+1, 1, 5000)}})
		commitGroup(t, s, func(g logdb.Group) { g.Compact(key, i+1, 1) })
		for range 4 {
			now += 10 * time.Microsecond
			s.RunOnce(now)
		}
	}
	if c := s.Counters(); c.Rotations < 15 || c.Removed < c.Rotations-2 {
		t.Errorf("%+v", c)
	}
	made := s.pool.next
	names, err := memory.List("log")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) > 6 {
		t.Errorf("files %v", names)
	}
	if s.writer.active.filled == 0 {
		t.Errorf("segment %d of %d was not prepared", s.writer.active.number, made)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A Commit that only moves commit indexes costs no write until something else is written or the writer has been idle.
func TestCommitIndexesRest(t *testing.T) {
	memory := vfs.NewMem()
	s := openManual(t, memory)
	before := s.Counters().Groups
	for i := range uint64(50) {
		saveAll(t, s, &raftpb.Save{ShardID: 1, ReplicaID: 1, StateChanged: true, State: raftpb.HardState{Term: 1, Commit: i}})
	}
	if groups := s.Counters().Groups - before; groups != 0 {
		t.Errorf("%d groups were written", groups)
	}
	if stored, err := s.Load(logdb.ReplicaKey{ShardID: 1, ReplicaID: 1}); err != nil || stored.State.Commit != 49 {
		t.Errorf("%+v, %v", stored, err)
	}
	now := s.options.IdleDelay
	runIdle(s, &now)
	if groups := s.Counters().Groups - before; groups != 2 {
		t.Errorf("%d groups were written when idle, want one and its marker", groups)
	}
	if next := s.RunOnce(now + time.Hour); next >= 0 {
		t.Errorf("an idle store wants to run again at %v", next)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Where the file system lets blocks be written around the page cache the probe finds out, and leaves nothing behind.
func TestProbe(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("writes around the page cache: %v", s.directory.direct)
	if _, err := vfs.Default.Stat(vfs.Default.PathJoin(dir, probeName)); err == nil {
		t.Error("the probe's file is left")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = openManual(t, vfs.NewMem()); s.directory.direct {
		t.Error("memory has no page cache to go around")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
