package seglog

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

const (
	batchBudget = 64  // bytes of the index for each batch, room that is not used included
	shardBudget = 200 // bytes of the index for each shard that does nothing, its map's included
)

// memoryRun measures a store that has many shards.
type memoryRun struct {
	t      *testing.T
	s      *Store
	shards int
	next   uint64 // index of the next batch of each shard
}

// each gives each shard something, some hundred shards in one Commit.
func (m *memoryRun) each(fill func(g logdb.Group, key logdb.ReplicaKey)) {
	for shard := 1; shard <= m.shards; {
		commitGroup(m.t, m.s, func(g logdb.Group) {
			for range 500 {
				if shard <= m.shards {
					fill(g, logdb.ReplicaKey{ShardID: uint64(shard), ReplicaID: 1})
				}
				shard++
			}
		})
	}
}

func (m *memoryRun) save(g logdb.Group, save *raftpb.Save, key logdb.ReplicaKey) {
	save.ShardID, save.ReplicaID, save.MustSync = key.ShardID, key.ReplicaID, true
	if err := g.Save(save); err != nil {
		m.t.Fatal(err)
	}
}

// begin gives each shard what one has from its start on.
func (m *memoryRun) begin() {
	m.each(func(g logdb.Group, key logdb.ReplicaKey) {
		m.save(g, &raftpb.Save{
			Bootstrap: &raftpb.Bootstrap{Incarnation: 7}, StateChanged: true, State: raftpb.HardState{Term: 1},
			Configs: []raftpb.ConfigRecord{{Index: 1, Membership: testMembership(1)}},
		}, key)
	})
}

// append gives each shard so many batches.
func (m *memoryRun) append(batches int) {
	for range batches {
		m.next++
		m.each(func(g logdb.Group, key logdb.ReplicaKey) {
			m.save(g, &raftpb.Save{Batches: []raftpb.Batch{logdbtest.Batch(key.ShardID, 1, m.next, 1, 16)}}, key)
		})
	}
}

// compact leaves each shard so many batches.
func (m *memoryRun) compact(keep int) {
	m.each(func(g logdb.Group, key logdb.ReplicaKey) { g.Compact(key, m.next-uint64(keep), 1) })
}

// counted returns the memory of the index by the sizes of its parts, without that of the map. What the writer has of the active segment
// is none of the index.
func (m *memoryRun) counted() (bytes int64) {
	for _, r := range m.s.index.replicas { // any order
		bytes += int64(unsafe.Sizeof(*r)) + int64(cap(r.runs))*int64(unsafe.Sizeof(run{}))
	}
	return bytes
}

// reopen opens the store again: of the writer's and of what opening needs nothing is left then.
func (m *memoryRun) reopen(options Options) {
	if err := m.s.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.s = nil
	var err error
	if m.s, err = Open(options); err != nil {
		m.t.Fatal(err)
	}
}

// indexHeap returns the heap that the index takes: what is free once it is gone.
func indexHeap(s *Store) int64 {
	clear(s.writer.owners[:cap(s.writer.owners)]) // or some replicas would stay
	full := heap()
	segments := s.index.segments
	s.index = newIndex()
	s.index.segments = segments
	return full - heap()
}

// TestMemoryOfManyShards holds the budget of the index for shards that have few batches each, as the heap and not as any sum of ours says: also for
// what slices have in reserve, and after compactions.
func TestMemoryOfManyShards(t *testing.T) {
	if raceEnabled {
		t.Skip("memory is larger under the race detector")
	}
	const shards = 2000
	for _, test := range []struct{ appended, kept int }{{1, 0}, {40, 0}, {1, 1}, {5, 5}, {7, 7}, {17, 17}, {40, 2}, {40, 21}} {
		for _, reopened := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d of %d batches, opened again %v", test.kept, test.appended, reopened), func(t *testing.T) {
				options := Options{FS: vfs.NewMem(), Dir: "log", Manual: true, SegmentBytes: 32 << 20}
				s, err := Open(options)
				if err != nil {
					t.Fatal(err)
				}
				m := &memoryRun{t: t, s: s, shards: shards}
				m.begin()
				m.append(test.appended)
				m.compact(test.kept)
				if reopened {
					m.reopen(options)
				}
				counted := m.counted()
				bytes := indexHeap(m.s)
				if limit := int64(shards * (shardBudget + batchBudget*test.kept)); bytes > limit || bytes < counted {
					t.Errorf("the index has %d bytes in the heap, %d counted: want at most %d", bytes, counted, limit)
				}
				t.Logf("%.1f bytes a shard, %.1f counted", float64(bytes)/shards, float64(counted)/shards)
				if err := m.s.Close(); err != nil {
					t.Fatal(err)
				}
				runtime.KeepAlive(m)
			})
		}
	}
}
