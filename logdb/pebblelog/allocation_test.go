package pebblelog

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// TestAllocations holds the budget of the write path: filling a group allocates nothing, a Commit next to nothing. What
// Pebble's own goroutines allocate is counted along.
func TestAllocations(t *testing.T) {
	if invariant.Enabled || raceEnabled {
		t.Skip("costly checks allocate")
	}
	s := openInMemory(t, vfs.NewMem())
	defer func() { _ = s.Close() }()
	save := saveOf(damagedKey, logdbtest.Batch(7, 1, 1, 10, 16))
	save.StateChanged, save.State = true, raftpb.HardState{Term: 1, Vote: 1}
	save.TruncateFrom = 1
	result := make(chan error, 1)
	done := func(err error) { result <- err }
	groups := make([]logdb.Group, 2)
	write := func() {
		for i := range groups {
			groups[i] = s.NewGroup()
			if err := groups[i].Save(save); err != nil {
				t.Fatal(err)
			}
		}
		s.Commit(groups, done)
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
	write()
	if allocations := testing.AllocsPerRun(300, write); allocations > 4 {
		t.Errorf("a commit of two groups allocates %v times, want at most 4", allocations)
	}
	group := s.NewGroup()
	fill := func() {
		if err := group.Save(save); err != nil {
			t.Fatal(err)
		}
		group.(*Group).reset()
	}
	fill()
	if allocations := testing.AllocsPerRun(300, fill); allocations != 0 {
		t.Errorf("filling a group allocates %v times", allocations)
	}
}
