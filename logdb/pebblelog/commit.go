package pebblelog

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/flotilla-raft/flotilla/logdb"
)

// maxFreeGroups is how many groups are kept for reuse: more than step workers fill and Commits hold at a time.
const maxFreeGroups = 64

// NewGroup returns an empty group.
func (s *Store) NewGroup() logdb.Group {
	s.groups.Lock()
	defer s.groups.Unlock()
	if n := len(s.groups.free); n > 0 {
		g := s.groups.free[n-1]
		s.groups.free = s.groups.free[:n-1]
		return g
	}
	return &Group{batch: s.db.NewBatch(pebble.WithMaxRetainedSizeBytes(retainedGroupBytes))}
}

func (s *Store) recycle(groups []*Group) {
	for _, g := range groups {
		g.reset()
	}
	s.groups.Lock()
	defer s.groups.Unlock()
	free := append(s.groups.free, groups...)
	s.groups.free = free[:min(len(free), maxFreeGroups)]
}

// Commit writes the groups. See logdb.LogDB.
//
// Pebble puts the write into its log's buffer and its memtable on the caller's goroutine; its own goroutine writes and
// syncs the buffer, and the store's waits for that and calls done. So the next Commit can be under way while the disk
// is busy, and the syncs of several are joined. The one thing that a Commit can wait for is Pebble changing to the next log
// file, once per memtable.
//
// Every group must have come from this store's NewGroup.
func (s *Store) Commit(groups []logdb.Group, done func(error)) {
	w := write{done: done, groups: make([]*Group, len(groups))}
	for i, group := range groups {
		w.groups[i] = group.(*Group)
	}
	s.committing.Lock()
	if s.draining {
		s.committing.Unlock()
		done(fmt.Errorf("%w: commit", logdb.ErrClosed))
		return
	}
	s.waiting.Add(1)
	s.apply(&w)
	s.enqueue(w)
	s.committing.Unlock()
}

// apply hands a write to Pebble.
func (s *Store) apply(w *write) {
	s.counters.commits.Add(1)
	s.counters.groups.Add(uint64(len(w.groups)))
	if w.err = s.latch.get(); w.err != nil {
		return
	}
	mustSync := false
	bytes := 0
	for _, g := range w.groups {
		mustSync = mustSync || g.mustSync
		bytes += g.Bytes()
	}
	if bytes == 0 {
		return
	}
	if bytes > maxGroupBytes {
		w.err = fmt.Errorf("%w: %d bytes in one commit, want at most %d", logdb.ErrInvalidSave, bytes, maxGroupBytes)
		return
	}
	s.counters.bytes.Add(uint64(bytes))
	s.commitBytes.Record(uint64(bytes))
	if err := s.applyBatch(w.groups, mustSync); err != nil {
		s.latch.set(err)
		w.err = s.latch.get()
		return
	}
	// Not before ApplyNoSyncWait has succeeded: SyncWait would return at once.
	w.sync = mustSync
	if mustSync {
		s.counters.syncedCommits.Add(1)
	}
}

// applyBatch joins the groups in the first one's batch and applies it. Pebble reports some faults by a panic.
func (s *Store) applyBatch(groups []*Group, mustSync bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.wedged.Store(true)
			err = fmt.Errorf("pebble panicked: %v", r)
		}
	}()
	batch := groups[0].batch
	for _, g := range groups[1:] {
		if err := batch.Apply(g.batch, nil); err != nil {
			return err
		}
	}
	if mustSync {
		return s.db.ApplyNoSyncWait(batch, pebble.Sync)
	}
	return s.db.Apply(batch, pebble.NoSync)
}

// finish waits for a write and calls its done. It runs on the completion goroutine, for one write after another.
func (s *Store) finish(w write) {
	if w.sync {
		if err := w.groups[0].batch.SyncWait(); err != nil {
			s.latch.set(fmt.Errorf("sync: %w", err))
		}
	}
	// Looked at after SyncWait: the guard latches a failure before Pebble can return from the operation that failed, and
	// hides that failure from Pebble, so SyncWait may well have returned nil.
	if w.err == nil {
		w.err = s.latch.get()
	}
	if w.err == nil {
		// After a failure Pebble may still refer to the memory of batches, so they are left to the garbage collector.
		s.recycle(w.groups)
	}
	s.waiting.Add(-1)
	w.done(w.err)
}
