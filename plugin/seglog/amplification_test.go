package seglog

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// countingFS counts the bytes that are written to files, blocks of zeros included.
type countingFS struct {
	vfs.FS
	written int64
}

func (c *countingFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	file, err := c.FS.OpenReadWrite(name, category, options...)
	return countedFile{file, c}, err
}

type countedFile struct {
	vfs.File
	fs *countingFS
}

func (c countedFile) WriteAt(data []byte, offset int64) (int, error) {
	c.fs.written += int64(len(data))
	return c.File.WriteAt(data, offset)
}

// TestDeviceBytes holds how many bytes are written to files for each byte of a batch: 1,000 shards, commands of 128 bytes, ten to a batch as with 10,000
// of them in flight. Padding, what is moved, what files are filled with and the records of compactions count, those of all shards at the
// end and all that follows from them, too.
func TestDeviceBytes(t *testing.T) {
	if raceEnabled {
		t.Skip("it takes long, in one goroutine")
	}
	const shards, keep, segment = 1000, 8, 4 << 20
	const limit = 1.3
	fs := &countingFS{FS: vfs.NewMem()}
	options := manual(fs)
	options.SegmentBytes = segment
	s, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	var now time.Duration
	var lasts, compacted [shards]uint64
	turn, bytes := 0, int64(0)
	write := func(commits int) {
		for range commits {
			commitGroup(t, s, func(g logdb.Group) {
				for range 400 {
					i := turn % shards
					turn++
					shard := uint64(i + 1)
					batch := logdbtest.Batch(shard, 1, lasts[i]+1, 10, 128)
					if err := g.Save(&raftpb.Save{ShardID: shard, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{batch}}); err != nil {
						t.Fatal(err)
					}
					lasts[i] = batch.Last()
					bytes += int64(len(batch))
					if held := (lasts[i] - compacted[i]) / 10; held >= keep+uint64(1+i%4) { // so that not all compact at once
						compacted[i] = lasts[i] - keep*10
						g.Compact(logdb.ReplicaKey{ShardID: shard, ReplicaID: 1}, compacted[i], 1)
					}
				}
			})
			for range 4 {
				now += 500 * time.Microsecond
				s.RunOnce(now)
			}
		}
	}
	write(60)
	before, begun := fs.written, bytes
	write(60)
	commitGroup(t, s, func(g logdb.Group) {
		for i := range uint64(shards) {
			g.Compact(logdb.ReplicaKey{ShardID: i + 1, ReplicaID: 1}, lasts[i]-keep*10, 1)
		}
	})
	for range 60 {
		runIdle(s, &now)
		now += time.Second
	}
	ratio := float64(fs.written-before) / float64(bytes-begun)
	if ratio > limit {
		t.Errorf("%.3f bytes are written for each of a batch, want at most %.1f", ratio, limit)
	}
	space, err := s.Space()
	if err != nil {
		t.Fatal(err)
	}
	live := int64(shards * keep * len(logdbtest.Batch(1, 1, 1, 10, 128)))
	if atMost := live*3/2 + 2*segment; space.DiskBytes > atMost {
		t.Errorf("%d bytes of files for %d live ones, want at most %d", space.DiskBytes, live, atMost)
	}
	t.Logf("%.3f bytes for each of a batch; %.2f times what is live on disk, less two segments; %+v", ratio,
		float64(space.DiskBytes-2*segment)/float64(live), s.Counters())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
