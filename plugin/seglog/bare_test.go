package seglog

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestASegmentThatGrowsIsLeftSoon: with small groups the first segment of a store, whose blocks were not written before, is left long before its
// middle, for a file that was filled meanwhile. With large groups it is not: filling costs as many bytes as they have.
func TestASegmentThatGrowsIsLeftSoon(t *testing.T) {
	for name, test := range map[string]struct {
		commandBytes int
		leaves       bool
	}{
		"small groups": {100, true},
		"large groups": {120_000, false},
	} {
		t.Run(name, func(t *testing.T) {
			options := manual(vfs.NewMem())
			options.SegmentBytes = 4 << 20
			s, err := Open(options)
			if err != nil {
				t.Fatal(err)
			}
			h := newWorkload(1, 3, test.commandBytes)
			var now time.Duration
			for s.Counters().Bytes < 15<<17 { // somewhat less than half of the segment
				commit(t, s, h.next(), func(err error) {
					if err != nil {
						t.Fatal(err)
					}
				})
				for range 3 { // the group, and what the keeper does beside it
					s.RunOnce(now)
					now += time.Microsecond
				}
			}
			if left := s.writer.active.filled != 0; left != test.leaves || left != (s.Counters().Rotations == 1) {
				t.Errorf("left: %t after %d rotations, want %t", left, s.Counters().Rotations, test.leaves)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = Open(options); err != nil {
				t.Fatal(err)
			}
			checkHolds(t, s, h)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// checkHolds compares the ends of all logs with what was written.
func checkHolds(t *testing.T, s *Store, w *workload) {
	t.Helper()
	for _, l := range w.logs {
		loaded, err := s.Load(l.key)
		if err != nil {
			t.Fatal(err)
		}
		if got := loaded.Last; got != l.last() {
			t.Errorf("%v: the log ends at %d, want %d", l.key, got, l.last())
		}
	}
}
