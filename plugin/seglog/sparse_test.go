package seglog

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// sparseRun is a store in which each batch of 128 bytes is a Commit of its own, and so fills a block.
type sparseRun struct {
	t      *testing.T
	s      *Store
	memory *vfs.MemFS
	shards int
	now    time.Duration
}

// append gives every shard the batch of an index, one Commit after the other, with the keeper at work between them.
func (r *sparseRun) append(index uint64) {
	for shard := range uint64(r.shards) {
		save := &raftpb.Save{ShardID: shard + 1, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(shard+1, 1, index, 1, 128)}}
		saveAll(r.t, r.s, save)
		r.now += time.Millisecond
		r.s.RunOnce(r.now)
	}
}

// compact leaves all shards what is behind an index.
func (r *sparseRun) compact(index uint64) {
	for shard := range uint64(r.shards) {
		commitGroup(r.t, r.s, func(g logdb.Group) { g.Compact(logdb.ReplicaKey{ShardID: shard + 1, ReplicaID: 1}, index, 1) })
	}
}

// settle runs the store until it rests.
func (r *sparseRun) settle() {
	for range 60 {
		runIdle(r.s, &r.now)
		r.now += time.Second
	}
}

// liveBatches reads every log and returns the bytes of its batches.
func (r *sparseRun) liveBatches(first, last uint64) (bytes int64) {
	for shard := range uint64(r.shards) {
		batches, err := r.s.Read(logdb.ReplicaKey{ShardID: shard + 1, ReplicaID: 1}, first, last, 1<<30, nil)
		if err != nil || len(batches) != int(last-first+1) {
			r.t.Fatalf("shard %d: %d batches, %v", shard+1, len(batches), err)
		}
		for _, batch := range batches {
			bytes += int64(len(batch))
		}
	}
	return bytes
}

// files returns the sizes of all files.
func (r *sparseRun) files() (bytes int64) {
	names, err := r.memory.List("log")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range names {
		info, err := r.memory.Stat("log/" + name)
		if err != nil {
			r.t.Fatal(err)
		}
		bytes += info.Size()
	}
	return bytes
}

// Space comes back also where most of what was written is padding: commands that come one by one, each in a block of its own. Only what had died was
// counted as a reason to move the rest, so what was hardly compacted took more than twenty times its size for ever, and later up to four times.
func TestSpaceComesBackFromPadding(t *testing.T) {
	for name, test := range map[string]struct {
		shards, segment int
		entries, dead   uint64
	}{
		"nothing is dead":     {1000, 2 << 20, uint64(share(20, 12)), 0},
		"a third is dead":     {1000, 2 << 20, uint64(share(20, 12)), uint64(share(7, 4))},
		"all but one is dead": {1000, 1 << 20, 6, 5},
		"one shard":           {1, 256 << 10, 4000, 400},
	} {
		t.Run(name, func(t *testing.T) {
			if raceEnabled && test.shards > 1 {
				t.Skip("it takes long, in one goroutine")
			}
			options := manual(vfs.NewMem())
			options.SegmentBytes = test.segment
			s, err := Open(options)
			if err != nil {
				t.Fatal(err)
			}
			r := &sparseRun{t: t, s: s, memory: options.FS.(*vfs.MemFS), shards: test.shards}
			for index := uint64(1); index <= test.entries; index++ {
				r.append(index)
			}
			if test.dead > 0 {
				r.compact(test.dead)
			}
			r.settle()
			live, files := r.liveBatches(test.dead+1, test.entries), r.files()
			if limit := live*3/2 + 2*int64(test.segment); files > limit {
				t.Errorf("%d bytes of files for %d live ones, want at most %d", files, live, limit)
			}
			counters := s.Counters()
			if 3*counters.Rewritten > counters.Bytes {
				t.Errorf("of %d bytes that were written %d were moved", counters.Bytes, counters.Rewritten)
			}
			t.Logf("%d bytes live, %d of files, less two segments %.2f times; %d written, %d moved", live, files,
				float64(files-2*int64(test.segment))/float64(live), counters.Bytes, counters.Rewritten)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
