package logdbtest

import (
	"reflect"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// TruncateFrom removes every batch from that index on, in the same write in which their successors are appended: a follower
// whose log conflicts replaces its tail (thesis 3.5).
func testTruncate(s *suite) {
	a, b, c := Batch(1, 1, 1, 2, 16), Batch(1, 1, 3, 2, 16), Batch(1, 1, 5, 2, 16)
	first := saveBatches(key(1, 1), a, b, c)
	first.Bootstrap = &raftpb.Bootstrap{Incarnation: 1}
	s.save(first)
	d := Batch(1, 2, 3, 1, 16)
	truncating := saveBatches(key(1, 1), d)
	truncating.TruncateFrom = 3
	s.save(truncating)
	s.expectLog(key(1, 1), 0, a, d)
	// The same index again, and without a successor.
	s.save(&raftpb.Save{ShardID: 1, ReplicaID: 1, TruncateFrom: 3, MustSync: true})
	s.expectLog(key(1, 1), 0, a)
	s.save(saveBatches(key(1, 1), Batch(1, 5, 3, 3, 16)))
	s.expectLog(key(1, 1), 0, a, Batch(1, 5, 3, 3, 16))
	// All of it.
	s.save(&raftpb.Save{ShardID: 1, ReplicaID: 1, TruncateFrom: 1, MustSync: true})
	s.expectLog(key(1, 1), 0)
	s.close()
	s.open()
	s.expectLog(key(1, 1), 0)
}

// A conflict inside a batch keeps a piece of it: TruncateFrom is the batch's first index, and the piece comes first.
func testTruncateInsideBatch(s *suite) {
	a, b := Batch(1, 1, 1, 2, 16), Batch(1, 1, 3, 5, 16)
	s.save(saveBatches(key(1, 1), a, b))
	piece, next := cut(b, 4), Batch(1, 3, 5, 1, 16)
	truncating := saveBatches(key(1, 1), piece, next)
	truncating.TruncateFrom = 3
	s.save(truncating)
	s.expectLog(key(1, 1), 0, a, piece, next)
	want := []raftpb.TermStart{{Term: 1, First: 1}, {Term: 3, First: 5}}
	if got := s.load(key(1, 1)).Terms; !reflect.DeepEqual(got, want) {
		s.Errorf("terms %v, want %v", got, want)
	}
}

// A membership is undone when its entry is cut (R17).
func testTruncateConfigs(s *suite) {
	save := saveBatches(key(1, 1), Batch(1, 1, 1, 1, 16), Batch(1, 1, 2, 1, 16), Batch(1, 1, 3, 1, 16))
	save.Configs = []raftpb.ConfigRecord{config(1), config(2), config(3)}
	s.save(save)
	truncating := saveBatches(key(1, 1), Batch(1, 2, 2, 4, 16))
	truncating.TruncateFrom = 2
	truncating.Configs = []raftpb.ConfigRecord{config(4)}
	s.save(truncating)
	want := []raftpb.ConfigRecord{config(1), config(4)}
	if got := s.load(key(1, 1)).Configs; !reflect.DeepEqual(got, want) {
		s.Errorf("configs %+v, want %+v", got, want)
	}
}

// Compact removes whole batches from the front and remembers the last removed entry and its term: the next append is
// checked against it.
func testCompact(s *suite) {
	a, b, c := Batch(1, 1, 1, 2, 16), Batch(1, 2, 3, 2, 16), Batch(1, 3, 5, 2, 16)
	s.save(saveBatches(key(1, 1), a, b, c))
	s.commit(func(group logdb.Group) { group.Compact(key(1, 1), 4, 2) })
	for range 2 {
		s.expectLog(key(1, 1), 4, c)
		stored := s.load(key(1, 1))
		if want := []raftpb.TermStart{{Term: 3, First: 5}}; stored.CompactedTerm != 2 || !reflect.DeepEqual(stored.Terms, want) {
			s.Errorf("load: %+v", stored)
		}
		s.close()
		s.open()
	}
	s.commit(func(group logdb.Group) { group.Compact(key(1, 1), 6, 3) })
	s.expectLog(key(1, 1), 6)
	s.save(saveBatches(key(1, 1), Batch(1, 3, 7, 1, 16)))
	s.expectLog(key(1, 1), 6, Batch(1, 3, 7, 1, 16))
}

// A batch that reaches beyond the compacted index stays whole: the entries behind it are still needed.
func testCompactInsideBatch(s *suite) {
	a, b := Batch(1, 1, 1, 4, 16), Batch(1, 2, 5, 4, 16)
	s.save(saveBatches(key(1, 1), a, b))
	s.commit(func(group logdb.Group) { group.Compact(key(1, 1), 2, 1) })
	s.expectLog(key(1, 1), 2, a, b)
	s.expectRead(key(1, 1), 2, 3, 100, logdb.ErrCompacted)
	s.expectRead(key(1, 1), 3, 3, 100, nil, a)
	want := []raftpb.TermStart{{Term: 1, First: 3}, {Term: 2, First: 5}}
	if got := s.load(key(1, 1)).Terms; !reflect.DeepEqual(got, want) {
		s.Errorf("terms %v, want %v", got, want)
	}
	s.commit(func(group logdb.Group) { group.Compact(key(1, 1), 7, 2) })
	s.expectLog(key(1, 1), 7, b)
	want = []raftpb.TermStart{{Term: 2, First: 8}}
	if got := s.load(key(1, 1)).Terms; !reflect.DeepEqual(got, want) {
		s.Errorf("terms %v, want %v", got, want)
	}
}

// An installed snapshot replaces a log that ends before it: the log is empty and goes on behind the snapshot.
func testCompactBeyondTheEnd(s *suite) {
	s.save(saveBatches(key(1, 1), Batch(1, 1, 1, 4, 16)))
	s.commit(func(group logdb.Group) {
		s.add(group, &raftpb.Save{ShardID: 1, ReplicaID: 1, TruncateFrom: 1, MustSync: true})
		group.Compact(key(1, 1), 100, 7)
	})
	s.expectLog(key(1, 1), 100)
	s.save(saveBatches(key(1, 1), Batch(1, 8, 101, 2, 16)))
	s.expectLog(key(1, 1), 100, Batch(1, 8, 101, 2, 16))
	if stored := s.load(key(1, 1)); stored.CompactedTerm != 7 {
		s.Errorf("load: %+v", stored)
	}
	// A log that was never written to.
	s.commit(func(group logdb.Group) { group.Compact(key(2, 1), 50, 3) })
	s.expectLog(key(2, 1), 50)
}

// The newest membership at or below the compacted index is still in force; older ones are not.
func testCompactKeepsNewestConfig(s *suite) {
	save := saveBatches(key(1, 1), Batch(1, 1, 1, 9, 16))
	save.Configs = []raftpb.ConfigRecord{config(0), config(2), config(4), config(6)}
	s.save(save)
	s.commit(func(group logdb.Group) { group.Compact(key(1, 1), 5, 1) })
	want := []raftpb.ConfigRecord{config(4), config(6)}
	if got := s.load(key(1, 1)).Configs; !reflect.DeepEqual(got, want) {
		s.Errorf("configs %+v, want %+v", got, want)
	}
	s.commit(func(group logdb.Group) { group.Compact(key(1, 1), 9, 1) })
	want = []raftpb.ConfigRecord{config(6)}
	if got := s.load(key(1, 1)).Configs; !reflect.DeepEqual(got, want) {
		s.Errorf("configs %+v, want %+v", got, want)
	}
}
