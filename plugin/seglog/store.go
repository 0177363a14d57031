package seglog

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flotilla-raft/flotilla/logdb"
)

// ErrOwner says that the directory belongs to another host.
var ErrOwner = errors.New("seglog: directory belongs to another host")

// ErrVersion says that the directory was written by another version of the format.
var ErrVersion = errors.New("seglog: format version")

// Store implements logdb.LogDB on segment files. See the package's documentation.
//
// Locks are taken in this order: mu, pool.mu, index.mu. None is held during a read, a write or a sync, but pool.mu while a prepared
// segment gets its name.
type Store struct {
	options   Options
	directory directory
	lock      io.Closer
	latch     latch
	index     *index
	order     []*segment // of the stream, oldest first, the active one last. Guarded as index is

	// writer and the step that uses it belong to whoever has set stepping.
	writer writer

	mu       sync.Mutex
	stepping bool
	awaited  int        // who waits in run for the writer
	handed   bool       // the writer was handed to one of those, and stepping stays set
	freed    *sync.Cond // handed was set
	// completing is how many groups are written and in the hands of the completer; settled tells when there are none.
	completing int
	settled    *sync.Cond
	queue      []*groupCommit
	spare      []*groupCommit
	closing    bool
	isDirty    bool // something was written, or rests, since the keeper last went to sleep

	pool   pool
	keeper keeper

	closed atomic.Bool // reads are refused
	reads  sync.RWMutex

	groups struct {
		sync.Mutex
		free []*Group
	}
	background background
	counters   struct {
		commits, groups, bytes, syncs, rotations, rewritten, removed atomic.Uint64
		written                                                      atomic.Int64 // to the active segment
		taken                                                        atomic.Int64 // by Commits, that never lived
	}
	metrics metrics
}

// Counters says what a store has done since it was opened.
type Counters struct {
	Commits   uint64 // calls of Commit
	Groups    uint64 // writes that these were gathered in, markers included
	Syncs     uint64 // of segments
	Bytes     uint64 // written to segments as groups and footers, padding included
	Rotations uint64 // segments that were filled
	Rewritten uint64 // bytes of records that were moved out of old segments
	Removed   uint64 // segments whose space was given back
}

// Name returns "seglog".
func (s *Store) Name() string { return "seglog" }

// Counters returns the counters as they stand now.
func (s *Store) Counters() Counters {
	c := &s.counters
	return Counters{
		Commits: c.commits.Load(), Groups: c.groups.Load(), Syncs: c.syncs.Load(), Bytes: c.bytes.Load(),
		Rotations: c.rotations.Load(), Rewritten: c.rewritten.Load(), Removed: c.removed.Load(),
	}
}

// Space returns what the store's files take at the moment: see logdb.SpaceReporter.
func (s *Store) Space() (logdb.Space, error) {
	if s.closed.Load() {
		return logdb.Space{}, fmt.Errorf("%w: space", logdb.ErrClosed)
	}
	space := logdb.Space{DiskBytes: s.pool.bytes()}
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	for _, segment := range s.order {
		space.DiskBytes += segment.size
		space.LiveBytes += segment.live
		space.Segments = append(space.Segments, logdb.Segment{Name: segment.name, Bytes: segment.size, LiveBytes: segment.live})
	}
	return space, nil
}

// sizes returns the bytes of the segments of the stream, and how many of them are live.
func (s *Store) sizes() (files, live int64) {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	for _, segment := range s.order {
		files += segment.size
		live += segment.live
	}
	return files, live
}

// List returns the keys of all replicas, ascending.
func (s *Store) List() ([]logdb.ReplicaKey, error) {
	if s.closed.Load() {
		return nil, fmt.Errorf("%w: list", logdb.ErrClosed)
	}
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return s.index.keys(), nil
}

// fail latches the first failure and tells the owner. The caller owns the writer, and has seen the completer at rest: nothing that was written
// before completes behind it.
func (s *Store) fail(err error) {
	if s.latch.get() != nil {
		return
	}
	s.latch.set(err)
	s.options.Logger.Error("seglog: the log store takes no more writes", "dir", s.options.Dir, "error", err)
	if s.options.Manual && s.options.OnFailure != nil && !s.keeper.told {
		s.keeper.told = true
		s.options.OnFailure(s.latch.get())
	}
}

// release gives the writer up. Who waits for it in run gets it at once: against a writer that has something to write all the time it would not
// win it by chance, and the keeper has to give segments back as fast as they are filled.
func (s *Store) release() {
	s.mu.Lock()
	// While groups are with the completer it is for the completer to do: what rests comes after what was written before it.
	for s.completing == 0 && !s.anythingDue() && s.resting() {
		s.completeResting()
	}
	if s.awaited > 0 {
		s.awaited--
		s.handed = true
		s.freed.Signal()
		s.mu.Unlock()
		return
	}
	s.stepping = false
	due := s.anythingDue()
	s.mu.Unlock()
	if due {
		s.wakeWriter()
	}
}

// resting reports whether there are Commits that need not be written at once and are not completed. s.mu is held.
func (s *Store) resting() bool {
	for _, c := range s.queue {
		for i := range c.waiters {
			if c.waiters[i].done != nil {
				return true
			}
		}
	}
	return false
}

// completeResting completes Commits that came while something was written and need not be written at once. s.mu is held,
// and released in between.
func (s *Store) completeResting() {
	var calls []func(error)
	err := s.latch.get()
	for _, c := range s.queue {
		waiting := false
		for i := range c.waiters {
			if done := c.waiters[i].done; done != nil {
				calls = append(calls, done)
				c.waiters[i].done = nil
				waiting = true
			}
		}
		if waiting && err == nil {
			s.index.mu.Lock()
			s.applyStates(c)
			s.index.mu.Unlock()
		}
	}
	wake := s.dirty()
	s.mu.Unlock()
	if wake {
		s.wakeKeeper()
	}
	for _, done := range calls {
		s.metrics.queue.Add(-1)
		done(err)
	}
	s.mu.Lock()
}

// run lets f use the writer once nobody else does.
func (s *Store) run(f func()) {
	s.mu.Lock()
	if s.stepping {
		s.awaited++
		for !s.handed {
			s.freed.Wait()
		}
		s.handed = false
	}
	s.stepping = true
	s.settle()
	s.mu.Unlock()
	f()
	s.release()
}

// settle waits until the completer has done everything, so that what is completed now is completed in order. s.mu is held, and released in between.
func (s *Store) settle() {
	for s.completing > 0 {
		s.settled.Wait()
	}
}

// drain writes what is due until nothing is, or somebody else is writing. It leaves completion to the completer: the next group is on its way to the disk
// meanwhile.
func (s *Store) drain() {
	for {
		s.mu.Lock()
		if s.stepping || !s.anythingDue() {
			s.mu.Unlock()
			return
		}
		s.stepping = true
		s.mu.Unlock()
		s.stepAhead()
		s.release()
	}
}

// dirty notes that there is something to follow up when the writer is idle, and reports whether the keeper has to be woken for it.
// s.mu is held.
func (s *Store) dirty() bool {
	was := s.isDirty
	s.isDirty = true
	return !was && !s.options.Manual
}

// RunOnce does, in a Manual store, what is due: it writes the oldest group that waits, or, if there is none, one small piece of the work that
// otherwise goes on in the background. now is the time since any fixed moment. It returns when it wants to run again at the latest:
// now if there is more to do, and a negative number if nothing will be until the next Commit.
func (s *Store) RunOnce(now time.Duration) time.Duration {
	s.mu.Lock()
	if s.closing || s.stepping {
		s.mu.Unlock()
		return -1
	}
	due := s.anythingDue()
	if due {
		s.keeper.lastWrite = now
		s.stepping = true
	}
	s.mu.Unlock()
	if due {
		s.step()
		s.release()
		return now
	}
	return s.keep(now)
}

// Close writes and syncs what waits, calls every done, and closes the files. After a failure it closes what can be closed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return fmt.Errorf("%w: closed twice", logdb.ErrClosed)
	}
	s.closing = true
	s.mu.Unlock()
	s.background.stop()
	s.run(func() {
		for s.queued() {
			s.step()
		}
		s.finish()
	})
	s.closed.Store(true)
	s.reads.Lock() // waits for the readers
	defer s.reads.Unlock()
	err := s.closeFiles()
	if s.latch.get() != nil {
		return nil // whoever has committed since knows; files of a failed store may not close
	}
	return err
}

// queued reports whether there is a group that is not written, due or resting.
func (s *Store) queued() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) > 0
}

// finish makes everything durable and leaves a witness of it.
func (s *Store) finish() {
	w := &s.writer
	if s.latch.get() != nil || w.active == nil {
		return
	}
	if w.witness >= w.lastData && w.durable >= w.lastData {
		return
	}
	marker := newGroupCommit()
	marker.sync = true
	if w.durable < w.lastData {
		if err := s.syncActive(); err != nil {
			s.fail(err)
			return
		}
	}
	_ = s.append(marker) // a failure is latched
}

func (s *Store) closeFiles() error {
	var err error
	for _, segment := range s.order {
		err = errors.Join(err, closeSegment(segment))
	}
	err = errors.Join(err, s.pool.close(), s.keeper.close())
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if err != nil {
		return fmt.Errorf("seglog: close: %w", err)
	}
	return nil
}

var (
	_ logdb.LogDB         = (*Store)(nil)
	_ logdb.SpaceReporter = (*Store)(nil)

	_ logdb.MetricsReporter = (*Store)(nil)
)
