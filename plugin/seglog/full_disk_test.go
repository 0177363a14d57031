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

// fullAtSync is a file system that takes every write and says when it is synced that there was no room, for the files that it is told.
func fullAtSync(full func(path string) bool) vfs.FS {
	return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) && full(op.Path) {
			return syscall.ENOSPC
		}
		return nil
	}))
}

// A disk that turns out to be full when a new file is synced that was only filled with zeros is no failure of the store: nothing was in it. It was
// latched, and the host gave up all its leaderships.
func TestFullAtTheSyncOfANewFile(t *testing.T) {
	refused := 0
	s := openManual(t, fullAtSync(func(path string) bool {
		if strings.HasSuffix(path, tempSuffix) && strings.Contains(path, "0000") {
			refused++
			return true
		}
		return false
	}))
	var now time.Duration
	for i := range uint64(60) {
		saveAll(t, s, &raftpb.Save{ShardID: 1, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(1, 1, i+1, 1, 5000)}})
		for range 8 {
			now += 10 * time.Microsecond
			s.RunOnce(now)
		}
	}
	if err := s.latch.get(); err != nil || refused == 0 || s.Counters().Rotations < 3 || refused > int(s.Counters().Rotations)+1 {
		t.Errorf("%v; %d times refused, %+v", err, refused, s.Counters())
	}
	if names, err := s.directory.fs.List("log"); err != nil || strings.Contains(strings.Join(names, " "), tempSuffix) {
		t.Errorf("files %v, %v", names, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// If it turns out when a Commit is synced that is a failed sync like any other (R9): what is on the disk is not known, and nothing is done behind it. The
// cause is named, and after a restart all that was done is there.
func TestFullAtTheSyncOfACommit(t *testing.T) {
	full := false
	fs := fullAtSync(func(string) bool { return full })
	s := openManual(t, fs)
	save := func(index uint64) (failure error) {
		group := s.NewGroup()
		batch := logdbtest.Batch(1, 1, index, 1, 100)
		if err := group.Save(&raftpb.Save{ShardID: 1, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{batch}}); err != nil {
			t.Fatal(err)
		}
		s.Commit([]logdb.Group{group}, func(err error) { failure = err })
		s.RunOnce(0)
		return failure
	}
	if err := save(1); err != nil {
		t.Fatal(err)
	}
	full = true
	if err := save(2); !errors.Is(err, logdb.ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v, want ErrFailed and ENOSPC", err)
	}
	full = false // somebody has made room, and a sync that is tried again would succeed
	if err := save(3); !errors.Is(err, logdb.ErrFailed) {
		t.Errorf("behind it: %v", err)
	}
	if stored, err := s.Load(logdb.ReplicaKey{ShardID: 1, ReplicaID: 1}); err != nil || stored.Last != 1 {
		t.Errorf("reading: %+v, %v", stored, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openManual(t, fs)
	if stored, err := s.Load(logdb.ReplicaKey{ShardID: 1, ReplicaID: 1}); err != nil || stored.Last < 1 || stored.Last > 2 {
		t.Errorf("after the restart: %+v, %v", stored, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
