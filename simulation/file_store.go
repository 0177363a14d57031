package simulation

import (
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
)

// logDirectory is where a host's log store is, in the files of the host.
const logDirectory = "log"

// fileStore is one of the product's stores on files that may fail. Writes are held back until the first of them is due. Then it and a
// drawn number of those behind it are handed to the store together, which may join their syncs. A power cut finds the rest not begun, or
// begins some of it and is struck in the midst.
//
// Pebble has goroutines of its own; the world waits for them: a write that is handed to Pebble has really ended, with its syncs, before
// virtual time goes on, and its completion is told when the world says so. So what is found after a power cut is one of the states that a
// write can be cut in, although nothing ever runs beside the world for longer than one event.
//
// The segmented log has none here: it does a step at a time, when it is told to, with the world's clock.
type fileStore struct {
	logdb.LogDB
	segmented segmented // the same, if it is the segmented log
	now       func() int64
	files     *files
	random    random
	pending   []*held // not told complete, oldest first
	hands     uint64  // how often writes were handed to the store
	told      uint64  // with which of them the write went that is being told complete
}

// held is a write that is not told complete.
type held struct {
	groups []logdb.Group
	done   func(error)
	handed bool
	hand   uint64 // with which others it was handed over; the segmented log writes those as one group
	err    error  // of the store
}

// openFileStore opens the store that is in the files, or makes one. With cut above 0 the power is cut at that operation, which only the
// files take notice of. The error is the store's.
func openFileStore(kind string, memory *vfs.MemFS, lanes int, r random, cut int, now func() int64) (*fileStore, error) {
	f := newFiles(memory, r.fork())
	f.directories = laneDirectories(lanes)
	f.cutAfter(cut)
	s := &fileStore{files: f, random: r, now: now}
	var err error
	if kind == seglogLogDB {
		f.repeatable = true
		if s.segmented, err = openSegmented(f); err == nil {
			s.LogDB = s.segmented
		}
	} else {
		s.LogDB, err = pebblelog.Open(pebblelog.Options{FS: f, Dir: logDirectory, MemtableBytes: pebblelog.MinMemtableBytes})
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Commit implements logdb.LogDB.
func (s *fileStore) Commit(groups []logdb.Group, done func(error)) {
	s.pending = append(s.pending, &held{groups: append([]logdb.Group(nil), groups...), done: done})
}

// Complete implements store.
func (s *fileStore) Complete(n int) {
	s.work(s.random.below(4))
	for ; n > 0 && len(s.pending) > 0; n-- {
		first := s.pending[0]
		if !first.handed {
			s.hand(1 + s.random.below(len(s.pending)))
		}
		s.pending, s.told = s.pending[1:], first.hand
		first.done(first.err)
	}
}

// work lets the segmented log do so many pieces of what goes on beside the writes.
func (s *fileStore) work(pieces int) {
	for range pieces {
		if s.segmented != nil {
			s.segmented.RunOnce(time.Duration(s.now()))
		}
	}
}

// hand hands those of the oldest n writes that the store does not have yet to it, and waits until they have ended.
func (s *fileStore) hand(n int) {
	ended := make(chan struct{}, n)
	count := 0
	s.hands++
	for _, h := range s.pending[:n] {
		if h.handed {
			continue
		}
		h.handed, h.hand = true, s.hands
		count++
		s.LogDB.Commit(h.groups, func(err error) {
			h.err = err
			ended <- struct{}{}
		})
	}
	for s.segmented != nil && len(ended) < count {
		s.work(1)
	}
	for range count {
		<-ended
	}
}

// Fail implements store: one of the next operations on the log file fails, and with it the store, for good (R9). Afterwards
// the files say that all is well again.
func (s *fileStore) Fail(err error) { s.files.failNextSync(err) }

// cut cuts the power and returns the files as they are found afterwards. The old store is closed; that writes to
// files which nobody will see. Writes that were not begun may begin, and be struck in the midst.
func (s *fileStore) cut() (*vfs.MemFS, cutting) {
	if len(s.pending) > 0 && s.random.chance(0.7) {
		begun := 1 + s.random.below(len(s.pending))
		if s.random.chance(0.7) {
			s.files.cutAfter(1 + s.random.below(2*begun+1))
		}
		s.hand(begun)
	} else if s.segmented != nil && s.random.chance(0.5) {
		s.files.cutAfter(1 + s.random.below(12))
		s.work(20)
	}
	image, what := s.files.cut()
	_ = s.Close() // it may have failed
	return image, what
}
