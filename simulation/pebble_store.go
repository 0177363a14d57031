package simulation

import (
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
)

// logDirectory is where a host's Pebble store is, in the files of the host.
const logDirectory = "log"

// pebbleStore is the product's store on Pebble, on files that may fail. Pebble has goroutines of its own; the world waits for them: a
// write that is handed to Pebble has really ended, with its syncs, before virtual time goes on, and its completion is told
// when the world says so. So what is found after a power cut is one of the states that a write can be cut in, although nothing ever
// runs beside the world for longer than one event.
//
// Writes are held back until the first of them is due. Then it and a drawn number of those behind it are handed to Pebble
// together, which may join their syncs. A power cut finds the rest not begun, or begins some of it and is struck in the midst.
type pebbleStore struct {
	*pebblelog.Store
	files   *files
	random  random
	pending []*held // not told complete, oldest first
}

// held is a write that is not told complete.
type held struct {
	groups []logdb.Group
	done   func(error)
	handed bool
	err    error // of Pebble
}

// openPebbleStore opens the store that is in the files, or makes one. With cut above 0 the power is cut at that operation, which only the
// files take notice of. The error is pebblelog's.
func openPebbleStore(memory *vfs.MemFS, r random, cut int) (*pebbleStore, error) {
	f := newFiles(memory, r.fork())
	f.cutAfter(cut)
	inner, err := pebblelog.Open(pebblelog.Options{FS: f, Dir: logDirectory, MemtableBytes: pebblelog.MinMemtableBytes})
	if err != nil {
		return nil, err
	}
	return &pebbleStore{Store: inner, files: f, random: r}, nil
}

// Commit implements logdb.LogDB.
func (s *pebbleStore) Commit(groups []logdb.Group, done func(error)) {
	s.pending = append(s.pending, &held{groups: append([]logdb.Group(nil), groups...), done: done})
}

// Complete implements store.
func (s *pebbleStore) Complete(n int) {
	for ; n > 0 && len(s.pending) > 0; n-- {
		first := s.pending[0]
		if !first.handed {
			s.hand(1 + s.random.below(len(s.pending)))
		}
		s.pending = s.pending[1:]
		first.done(first.err)
	}
}

// hand hands those of the oldest n writes that Pebble does not have yet to it, and waits until they have ended.
func (s *pebbleStore) hand(n int) {
	ended := make(chan struct{}, n)
	count := 0
	for _, h := range s.pending[:n] {
		if h.handed {
			continue
		}
		h.handed = true
		count++
		s.Store.Commit(h.groups, func(err error) {
			h.err = err
			ended <- struct{}{}
		})
	}
	for range count {
		<-ended
	}
}

// Fail implements store: one of the next operations on the log file fails, and with it the store, for good (R9). Afterwards
// the files say that all is well again.
func (s *pebbleStore) Fail(err error) { s.files.failNextSync(err) }

// cut cuts the power and returns the files as they are found afterwards. The old store is closed; that writes to
// files which nobody will see. Writes that were not begun may begin, and be struck in the midst.
func (s *pebbleStore) cut() (*vfs.MemFS, cutting) {
	if len(s.pending) > 0 && s.random.chance(0.7) {
		begun := 1 + s.random.below(len(s.pending))
		if s.random.chance(0.7) {
			s.files.cutAfter(1 + s.random.below(2*begun+1))
		}
		s.hand(begun)
	}
	image, what := s.files.cut()
	_ = s.Close() // it may have failed
	return image, what
}
