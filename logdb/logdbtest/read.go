package logdbtest

import (
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Read returns whole batches, byte by byte as they were saved, from the one that holds from to the one that holds to.
func testReadRange(s *suite) {
	a, b, c := Batch(1, 1, 1, 3, 16), Batch(1, 1, 4, 1, 16), Batch(1, 2, 5, 4, 16)
	s.save(saveBatches(key(1, 1), a, b))
	s.save(saveBatches(key(1, 1), c))
	const all = 1 << 30
	s.expectRead(key(1, 1), 1, 8, all, nil, a, b, c)
	s.expectRead(key(1, 1), 1, 1, all, nil, a)
	s.expectRead(key(1, 1), 3, 3, all, nil, a)
	s.expectRead(key(1, 1), 2, 4, all, nil, a, b)
	s.expectRead(key(1, 1), 4, 4, all, nil, b)
	s.expectRead(key(1, 1), 3, 5, all, nil, a, b, c)
	s.expectRead(key(1, 1), 7, 7, all, nil, c)
	s.expectRead(key(1, 1), 6, 100, all, nil, c)
}

// Read ends once maxBytes were read, and never before the first batch: otherwise a batch larger than the
// limit could never be sent.
func testReadLimit(s *suite) {
	a, b, c := Batch(1, 1, 1, 1, 100), Batch(1, 1, 2, 1, 100), Batch(1, 1, 3, 1, 100)
	s.save(saveBatches(key(1, 1), a, b, c))
	s.expectRead(key(1, 1), 1, 3, 0, nil, a)
	s.expectRead(key(1, 1), 1, 3, len(a), nil, a)
	s.expectRead(key(1, 1), 1, 3, len(a)+1, nil, a, b)
	s.expectRead(key(1, 1), 2, 3, len(b)+len(c), nil, b, c)
}

// What Read returned belongs to the caller: it outlives truncation, compaction and removal.
func testReadBelongsToCaller(s *suite) {
	want := Batch(1, 1, 1, 4, 1000)
	s.save(saveBatches(key(1, 1), want))
	got, err := s.db.Read(key(1, 1), 1, 4, 1, nil)
	if err != nil {
		s.Fatal(err)
	}
	s.commit(func(group logdb.Group) { group.Remove(key(1, 1)) })
	for first := uint64(1); first < 50; first++ {
		s.save(saveBatches(key(1, 1), Batch(1, 7, first, 1, 1000)))
	}
	if string(got[0]) != string(want) {
		s.Error("the batch changed in the caller's hands")
	}
}

// What is not there is told apart: compacted, so a snapshot is needed; or not there yet.
func testReadOutside(s *suite) {
	s.save(saveBatches(key(1, 1), Batch(1, 1, 1, 3, 16), Batch(1, 1, 4, 3, 16)))
	s.commit(func(group logdb.Group) { group.Compact(key(1, 1), 3, 1) })
	s.expectRead(key(1, 1), 3, 5, 100, logdb.ErrCompacted)
	s.expectRead(key(1, 1), 1, 1, 100, logdb.ErrCompacted)
	s.expectRead(key(1, 1), 0, 5, 100, logdb.ErrCompacted)
	s.expectRead(key(1, 1), 7, 7, 100, logdb.ErrUnavailable)
	s.expectRead(key(1, 1), 1000, 2000, 100, logdb.ErrUnavailable)
	s.expectRead(key(1, 1), 5, 4, 100, logdb.ErrUnavailable)
}

// Witnesses store headers without bodies.
func testBodyOmitted(s *suite) {
	headers := []raftpb.Batch{Batch(1, 1, 1, 3, 100).WithoutBody(), Batch(1, 1, 4, 2, 100).WithoutBody()}
	s.save(saveBatches(key(1, 1), headers...))
	s.expectLog(key(1, 1), 0, headers...)
}

// Batches of several megabytes, alone and together, are as good as small ones, before and after a restart.
func testLargeBatches(s *suite) {
	large := []raftpb.Batch{Batch(1, 1, 1, 4, 1<<20), Batch(1, 1, 5, 1, 6<<20), Batch(1, 1, 6, 1, 10)}
	s.save(saveBatches(key(1, 1), large[0]))
	s.save(saveBatches(key(1, 1), large[1], large[2]))
	s.expectLog(key(1, 1), 0, large...)
	s.close()
	s.open()
	s.expectLog(key(1, 1), 0, large...)
}
