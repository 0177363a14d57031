package seglog

import (
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// discarding is a file system that forgets what is written at an offset, so that writing allocates nothing.
type discarding struct{ vfs.FS }

func (d discarding) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	file, err := d.FS.OpenReadWrite(name, category, options...)
	return discardingFile{file}, err
}

type discardingFile struct{ vfs.File }

func (discardingFile) WriteAt(data []byte, _ int64) (int, error) { return len(data), nil }

// TestAllocations holds the budget of the write path: in the steady state a Commit allocates nothing, nor does filling its groups.
func TestAllocations(t *testing.T) {
	if invariant.Enabled || raceEnabled {
		t.Skip("costly checks allocate")
	}
	s, err := Open(Options{FS: discarding{vfs.NewMem()}, Dir: "log", Manual: true, SegmentBytes: MaxSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	list := make([]*raftpb.Save, 20)
	for i := range list {
		shard := uint64(i + 1)
		list[i] = &raftpb.Save{
			ShardID: shard, ReplicaID: 1, MustSync: true, TruncateFrom: 1, StateChanged: true, State: raftpb.HardState{Term: 1, Vote: 1, Commit: 5},
			Batches: []raftpb.Batch{logdbtest.Batch(shard, 1, 1, 10, 16)},
		}
	}
	completed := 0
	done := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
		completed++
	}
	groups := make([]logdb.Group, 2)
	write := func() {
		for i := range groups {
			groups[i] = s.NewGroup()
			for _, save := range list[i*10 : i*10+10] {
				if err := groups[i].Save(save); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.Commit(groups, done)
		s.RunOnce(0)
	}
	for range 2000 { // so that the footer's buffer has grown
		write()
	}
	before := completed
	if allocations := testing.AllocsPerRun(200, write); allocations > 0 {
		t.Errorf("a Commit of 20 batches allocates %v times", allocations)
	}
	if completed-before < 200 {
		t.Errorf("only %d Commits were done", completed-before)
	}
}

// TestMemory holds the budget of the index: 64 bytes for a batch, 200 for a replica that does nothing, its last batch not counted.
func TestMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("memory is larger under the race detector")
	}
	if size := unsafe.Sizeof(replica{}); size > 128 { // or it takes 144
		t.Errorf("a replica has %d bytes, want at most 128", size)
	}
	const replicas, batches = 20_000, 400_000
	x := newIndex()
	before := heap()
	for i := range uint64(replicas) {
		o := operation{recordHeader: recordHeader{kind: recordSave, key: logdb.ReplicaKey{ShardID: i, ReplicaID: 1}}, id: 1 << 16, flags: saveState}
		x.apply(&o, 1)
	}
	idle := heap()
	for i := range uint64(batches) {
		o := operation{
			recordHeader: recordHeader{kind: recordSave, key: logdb.ReplicaKey{ShardID: i % 1000, ReplicaID: 1}}, id: i << 16,
			flags: saveBatch, first: 1 + i/1000, term: 1, count: 1, batch: recordHeaderSize,
		}
		x.apply(&o, 1)
	}
	full := heap()
	if per := float64(idle-before) / replicas; per > 200 {
		t.Errorf("an idle replica takes %.0f bytes, want at most 200", per)
	}
	if per := float64(full-idle) / batches; per > 64 {
		t.Errorf("a batch takes %.0f bytes, want at most 64", per)
	}
	runtime.KeepAlive(x)
}

func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// TestSpaceComesBack: once all shards have compacted, and the writer is idle, the files take at most one and a half times what is live and two
// segments; and one log that is never compacted does not hold the rest.
func TestSpaceComesBack(t *testing.T) {
	memory := vfs.NewMem()
	s := openManual(t, memory)
	var now time.Duration
	lagging := logdb.ReplicaKey{ShardID: 99, ReplicaID: 1}
	const shards, rounds = 5, 300
	next := make([]uint64, shards+1)
	for round := range rounds {
		shard := uint64(1 + round%shards)
		saveAll(t, s, &raftpb.Save{ShardID: shard, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(shard, 1, next[shard]+1, 1, 6000)}})
		next[shard]++
		if round%10 == 0 {
			saveAll(t, s, &raftpb.Save{ShardID: 99, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(99, 1, uint64(round/10)+1, 1, 800)}})
		}
		if round%20 == 19 {
			for i := range uint64(shards) {
				commitGroup(t, s, func(g logdb.Group) { g.Compact(logdb.ReplicaKey{ShardID: i + 1, ReplicaID: 1}, next[i+1], 1) })
			}
		}
		now += 100 * time.Microsecond
		for range 5 {
			s.RunOnce(now)
		}
	}
	runIdle(s, &now)
	space, err := s.Space()
	if err != nil {
		t.Fatal(err)
	}
	if limit := space.LiveBytes*3/2 + 2*MinSegmentBytes; space.DiskBytes > limit || space.LiveBytes < rounds/10*800 {
		t.Errorf("%d bytes on disk, %d live, %d segments: want at most %d", space.DiskBytes, space.LiveBytes, len(space.Segments), limit)
	}
	counters := s.Counters()
	if counters.Removed < 10 || counters.Rewritten == 0 {
		t.Errorf("%+v", counters)
	}
	if stored, err := s.Load(lagging); err != nil || stored.Last != rounds/10 {
		t.Errorf("the log that was never compacted: %+v, %v", stored, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
