package engine_test

import (
	"errors"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// rot changes a byte in the middle of the newest snapshot of a host, and returns its path.
func (c *streamCluster) rot(i int) string {
	c.t.Helper()
	s := c.list[i]
	path := s.directory.Path(s.directory.List(1, uint64(i+1))[0])
	file, err := s.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		c.t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		c.t.Fatal(err)
	}
	b, at := make([]byte, 1), info.Size()/2
	if _, err := file.ReadAt(b, at); err != nil {
		c.t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := file.WriteAt(b, at); err != nil {
		c.t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// Snapshots that have rotted on the disks of their sources are found when they are sent: they are named, they go, and new ones take their place and
// serve. Found: each source sent the same file again whenever it was its turn, for ever, and nobody else was told.
func TestASnapshotThatRotsIsReplaced(t *testing.T) {
	forKinds(t, []rsm.Kind{rsm.KindMemory, rsm.KindConcurrent}, func(t *testing.T, kind rsm.Kind) {
		c := newStreamCluster(t, 3, kind, nil)
		leader, other, lagging := c.behind(100)
		c.take(other)
		paths := []string{c.rot(leader), c.rot(other)}
		c.cutOff(lagging, false)
		c.waitState(lagging, 100)
		c.run(10 * time.Second)
		damaged := c.eventsOf(engine.EventSnapshotDamaged)
		if len(damaged) != 2 {
			t.Fatalf("%d are said to be damaged", len(damaged))
		}
		for _, event := range damaged {
			if !errors.Is(event.Err, engine.ErrSnapshotDamaged) || !errors.Is(event.Err, snapshot.ErrDamaged) ||
				!strings.Contains(event.Err.Error(), paths[0]) && !strings.Contains(event.Err.Error(), paths[1]) {
				t.Errorf("%+v", event)
			}
		}
		for _, i := range []int{leader, other} {
			names := c.list[i].directory.List(1, uint64(i+1))
			if len(names) != 1 {
				t.Fatalf("host %d has %d snapshots", i+1, len(names))
			}
			file, err := c.list[i].directory.Open(names[0])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := snapshot.Verify(file, nil); err != nil {
				t.Errorf("host %d: %v", i+1, err)
			}
			_ = file.Close() // it was only read
		}
	})
}

// A source believes nobody that its snapshot is damaged: one that is whole stays.
func TestASnapshotThatIsWholeStays(t *testing.T) {
	c := newStreamCluster(t, 3, rsm.KindMemory, nil)
	_, other, lagging := c.behind(100)
	c.take(other)
	c.list[lagging].change(3, false, func(m *raftpb.Message) {
		m.Payload[20] ^= 1
		m.Request = uint64(crc32.Checksum(m.Payload, castagnoli))
	})
	before := c.counters(other).Snapshots
	c.cutOff(lagging, false)
	c.waitState(lagging, 100)
	c.run(10 * time.Second)
	if n := len(c.eventsOf(engine.EventSnapshotDamaged)); n != 0 || c.counters(other).Snapshots != before {
		t.Errorf("%d are said to be damaged, %d snapshots were taken", n, c.counters(other).Snapshots-before)
	}
}

// What a verification finds is of no concern once the replica's snapshots have ended: a renewed one may have a good file under the same name.
func TestAVerificationEndsWithItsReplica(t *testing.T) {
	c := newStreamCluster(t, 3, rsm.KindMemory, nil)
	leader, _, _ := c.behind(100)
	path := c.rot(leader)
	c.list[leader].replicas[1].VerifyNewest()
	c.list[leader].replicas[1].EndSnapshots(engine.ErrStopped)
	c.run(time.Second)
	if damaged := c.eventsOf(engine.EventSnapshotDamaged); len(damaged) != 0 {
		t.Errorf("%+v", damaged)
	}
	if _, err := c.list[leader].fs.Stat(path); err != nil {
		t.Errorf("the file of whoever comes next: %v", err)
	}
}
