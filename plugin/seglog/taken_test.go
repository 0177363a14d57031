package seglog

import (
	"bytes"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// largeGroup fills a group with one batch.
func largeGroup(t testing.TB, g *Group, first uint64, bytes int) {
	t.Helper()
	save := &raftpb.Save{ShardID: 1, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(1, 1, first, 1, bytes)}}
	if err := g.Save(save); err != nil {
		t.Fatal(err)
	}
}

func aligned(data []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(data)))%blockSize == 0 && cap(data)%blockSize == 0
}

// TestMemoryIsExchanged: a large group's memory becomes the group commit's, which can be written as it is, and from then on neither sees what is put into
// the other.
func TestMemoryIsExchanged(t *testing.T) {
	g, c := &Group{}, newGroupCommit()
	for round := range uint64(10) {
		largeGroup(t, g, round+1, 50_000+int(round)*3000)
		encoded, memory := slices.Clone(g.data), unsafe.SliceData(g.data)
		c.append(g, true)
		if unsafe.SliceData(c.data[headerSize:]) != memory {
			t.Fatalf("round %d: copied", round)
		}
		g.reset()
		largeGroup(t, g, 99, 20_000)
		if !bytes.Equal(c.data[headerSize:], encoded) || !aligned(c.data) || len(c.padded())%blockSize != 0 {
			t.Fatalf("round %d: a group commit of %d bytes, %d of the group", round, len(c.data), len(encoded))
		}
		c.append(g, true) // not alone in it: copied behind the other
		if !bytes.Equal(c.data[headerSize:headerSize+len(encoded)], encoded) || !bytes.Equal(c.data[headerSize+len(encoded):], g.data) || !aligned(c.data) {
			t.Fatalf("round %d: what is copied behind does not stand there", round)
		}
		g.reset()
		c.reset()
	}
}

// TestLargeCommits commits groups of all sizes, some of them together, before the first of them is written. All that is kept for reuse is in use meanwhile.
func TestLargeCommits(t *testing.T) {
	for seed := range uint64(share(6, 2)) {
		s := openManual(t, vfs.NewMem())
		h := draw(t, newWorkload(seed, 3, 30_000), 40)
		var now time.Duration
		for i := 0; i < len(h.changes); {
			var groups []logdb.Group
			for range 1 + uint64(i)*seed%3 {
				if i < len(h.changes) {
					group := s.NewGroup()
					if err := h.changes[i].fill(group); err != nil {
						t.Fatal(err)
					}
					groups = append(groups, group)
					i++
				}
			}
			s.Commit(groups, func(err error) {
				if err != nil {
					t.Error(err)
				}
			})
			if i%4 == 0 {
				runIdle(s, &now)
			}
		}
		runIdle(s, &now)
		if got := fingerprint(t, s, h.keys); !slices.Equal(got, h.states[len(h.changes)]) {
			t.Errorf("seed %d: the store holds\n%.2000q\nthe model\n%.2000q", seed, got, h.states[len(h.changes)])
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAllocationsOfLargeCommits: what is exchanged fits in the end, so that nothing is allocated.
func TestAllocationsOfLargeCommits(t *testing.T) {
	if invariant.Enabled || raceEnabled {
		t.Skip("costly checks allocate")
	}
	s, err := Open(Options{FS: discarding{vfs.NewMem()}, Dir: "log", Manual: true, SegmentBytes: MaxSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	save := &raftpb.Save{ShardID: 1, ReplicaID: 1, MustSync: true, TruncateFrom: 1, Batches: []raftpb.Batch{logdbtest.Batch(1, 1, 1, 1, 64<<10)}}
	done := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	groups := make([]logdb.Group, 1)
	write := func() {
		groups[0] = s.NewGroup()
		if err := groups[0].Save(save); err != nil {
			t.Fatal(err)
		}
		s.Commit(groups, done)
		s.RunOnce(0)
	}
	for range 1000 {
		write()
	}
	if allocations := testing.AllocsPerRun(200, write); allocations > 0 {
		t.Errorf("a Commit of 64 KiB allocates %v times", allocations)
	}
}

// TestWhatRestsIsBounded: what nobody waits for is written once it comes to much, however it is cut into Commits. It found that Commits too large to be
// joined rested one behind the other.
func TestWhatRestsIsBounded(t *testing.T) {
	for _, saves := range []int{500, 1500, 2500} {
		s := openManual(t, vfs.NewMem())
		told := 0
		for n := range uint64(10) {
			group := s.NewGroup()
			for shard := range uint64(saves) {
				save := &raftpb.Save{ShardID: shard + 1, ReplicaID: 1, StateChanged: true, State: raftpb.HardState{Term: 1, Commit: n + 1}}
				if err := group.Save(save); err != nil {
					t.Fatal(err)
				}
			}
			s.Commit([]logdb.Group{group}, func(error) { told++ })
			rests := 0
			s.mu.Lock()
			for _, c := range s.queue {
				rests += len(c.data)
			}
			due := s.anythingDue()
			s.mu.Unlock()
			if !due && rests > restingBytes {
				t.Fatalf("%d bytes rest after %d Commits of %d states, want at most %d", rests, n+1, saves, restingBytes)
			}
			if due {
				s.RunOnce(0)
			}
		}
		if told != 10 {
			t.Errorf("%d Commits of %d states were completed, want 10", told, saves)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
