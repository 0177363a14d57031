package seglog

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// forgetful is a file system that loses writes, and says that all is well.
type forgetful struct {
	vfs.FS
	lose bool
}

func (f *forgetful) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, category, options...)
	return &forgetfulFile{file, f}, err
}

type forgetfulFile struct {
	vfs.File
	fs *forgetful
}

func (f *forgetfulFile) WriteAt(data []byte, offset int64) (int, error) {
	if f.fs.lose {
		return len(data), nil
	}
	return f.File.WriteAt(data, offset)
}

// A write that the disk has lost is noticed before the segment is given back that what was moved came from: otherwise everything that a replica
// has would be gone without a trace. Found by a run of the simulator in which a lost write hit what was being moved.
func TestWhatWasMovedIsReadBack(t *testing.T) {
	fs := &forgetful{FS: vfs.NewMem()}
	s := openManual(t, fs)
	quiet := logdb.ReplicaKey{ShardID: 1, ReplicaID: 1}
	kept := logdbtest.Batch(1, 1, 1, 3, 100)
	saveAll(t, s, &raftpb.Save{ShardID: 1, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{kept}})
	var now time.Duration
	for i := uint64(1); len(s.order) < 4; i++ {
		saveAll(t, s, &raftpb.Save{ShardID: 2, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(2, 1, i, 1, 9000)}})
		commitGroup(t, s, func(g logdb.Group) { g.Compact(logdb.ReplicaKey{ShardID: 2, ReplicaID: 1}, i, 1) })
	}
	fs.lose = true
	for now = time.Minute; s.Counters().Rewritten == 0; now += time.Millisecond {
		if s.RunOnce(now); now > 2*time.Minute {
			t.Fatal("nothing is moved")
		}
	}
	fs.lose = false
	runIdle(s, &now)
	if err := s.latch.get(); !errors.Is(err, logdb.ErrFailed) {
		t.Errorf("the lost write was not noticed: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openManual(t, fs)
	stored, err := s.Load(quiet)
	if err == nil && stored.Last != kept.Last() || err != nil && !errors.Is(err, logdb.ErrDamaged) {
		t.Errorf("after the restart: %+v, %v", stored, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// What was moved is known to be missing when damage takes it, also of a replica that has saved nothing since: its bootstrap and its configuration,
// of which nothing else tells, would be gone without a trace. Found by a run of the simulator in which sectors were zeroed: the
// replica came back without an incarnation. Every block is hit, alone and over its end.
func TestLossOfWhatWasMovedShows(t *testing.T) {
	fs := vfs.NewMem()
	s := openManual(t, fs)
	quiet := logdb.ReplicaKey{ShardID: 3, ReplicaID: 1}
	kept := logdbtest.Batch(3, 1, 1, 3, 100)
	for _, batch := range []raftpb.Batch{logdbtest.Batch(1, 1, 1, 1, 600), kept} { // so what is moved of shard 3 is not in a block's first sector
		saveAll(t, s, &raftpb.Save{
			ShardID: batch.ShardID(), ReplicaID: 1, MustSync: true, Bootstrap: &raftpb.Bootstrap{Incarnation: 7}, Batches: []raftpb.Batch{batch},
		})
	}
	for i := uint64(1); len(s.order) < 4; i++ {
		saveAll(t, s, &raftpb.Save{ShardID: 2, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(2, 1, i, 1, 9000)}})
		commitGroup(t, s, func(g logdb.Group) { g.Compact(logdb.ReplicaKey{ShardID: 2, ReplicaID: 1}, i, 1) })
	}
	now := time.Minute
	runIdle(s, &now)
	if s.Counters().Rewritten == 0 || s.latch.get() != nil {
		t.Fatalf("%d bytes were moved: %v", s.Counters().Rewritten, s.latch.get())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files := contents(t, fs)
	lost := 0
	for name, content := range files {
		if !strings.HasSuffix(name, segmentSuffix) {
			continue
		}
		for at := 0; at < len(content); at += 512 { // sectors
			damaged := maps.Clone(files)
			damaged[name] = slices.Clone(content)
			clear(damaged[name][at:min(len(content), at+blockSize)])
			s := openManual(t, imageOf(t, damaged))
			stored, err := s.Load(quiet)
			if errors.Is(err, logdb.ErrDamaged) {
				lost++
			} else if err != nil || stored.Bootstrap.Incarnation != 7 || stored.Last != kept.Last() {
				t.Fatalf("%s, zeros from %d on: found %+v, %v", name, at, stored, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if lost == 0 {
		t.Error("nothing was lost")
	}
}
