package seglog

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Space comes back also where most of what was written is padding: commands that come one by one, each in a block of its own. Only what had died was
// counted as a reason to move the rest, so what was hardly compacted took more than twenty times its size for ever.
func TestSpaceComesBackFromPadding(t *testing.T) {
	const entries = 2000
	s, err := Open(manual(vfs.NewMem()))
	if err != nil {
		t.Fatal(err)
	}
	var now time.Duration
	for index := uint64(1); index <= entries; index++ {
		saveAll(t, s, &raftpb.Save{ShardID: 1, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(1, 1, index, 1, 128)}})
		now += time.Millisecond
		s.RunOnce(now)
	}
	commitGroup(t, s, func(g logdb.Group) { g.Compact(logdb.ReplicaKey{ShardID: 1, ReplicaID: 1}, entries/10, 1) })
	for range 60 {
		runIdle(s, &now)
		now += time.Second
	}
	files, live := s.sizes()
	if limit := 4*live + 2*MinSegmentBytes; files > limit {
		t.Errorf("%d bytes of files for %d live ones, want at most %d", files, live, limit)
	}
	if counters := s.Counters(); 3*counters.Rewritten > counters.Bytes {
		t.Errorf("of %d bytes that were written %d were moved", counters.Bytes, counters.Rewritten)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
