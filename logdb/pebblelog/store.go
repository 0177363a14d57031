package pebblelog

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/flotilla-raft/flotilla/logdb"
)

// Store implements logdb.LogDB on Pebble. See the package's documentation.
type Store struct {
	db    *pebble.DB
	guard *guard
	latch *latch

	// use is held shared by readers and exclusively by Close: Pebble panics when it is used after it was closed.
	use    sync.RWMutex
	closed bool

	// committing is held by Commit, so that writes enter the queue in the order in which Pebble got them.
	committing sync.Mutex
	draining   bool // under committing: Close has begun
	wedged     atomic.Bool

	// queue holds the writes that Pebble has got and whose done was not called, oldest first.
	queue struct {
		sync.Mutex
		filled  *sync.Cond
		writes  []write
		stopped bool
	}

	groups struct {
		sync.Mutex
		free []*Group
	}

	background sync.WaitGroup
	completed  chan struct{} // closed when the completion goroutine has ended
	counters   struct {
		commits, syncedCommits, groups, bytes atomic.Uint64
	}
	commitBytes logdb.Histogram
	waiting     atomic.Int64 // Commits whose done was not called
}

// write is a Commit under way. It owns the groups until it is finished.
type write struct {
	groups []*Group
	sync   bool  // the batch of groups[0] waits for the write-ahead log
	err    error // set when the write did not reach Pebble
	done   func(error)
}

// Counters says what a store has done since it was opened.
type Counters struct {
	Commits       uint64 // calls of Commit
	SyncedCommits uint64 // of these, how many waited for a sync; several may have shared one
	Groups        uint64 // groups in them
	Bytes         uint64 // bytes handed to Pebble, keys included
	FileSyncs     uint64 // syncs of files and directories, those of tables included
	FileBytes     uint64 // bytes written to files, those of tables included
}

// Open opens the store in a directory, or makes one. Only one process, and one Store in it, can have a directory open.
//
// Damage in Pebble's write-ahead log or manifest makes Open fail with logdb.ErrDamaged: what was lost cannot be told from
// what remains, so it concerns all replicas of the host (R12).
func Open(options Options) (*Store, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options = options.withDefaults()
	if err := prepare(options); err != nil {
		return nil, err
	}
	if err := checkNewestLog(options.FS, options.Dir); err != nil {
		return nil, fmt.Errorf("pebblelog: %s: %w", options.Dir, err)
	}
	if err := checkManifest(options.FS, options.Dir); err != nil {
		return nil, fmt.Errorf("pebblelog: %s: %w", options.Dir, err)
	}
	s := &Store{latch: newLatch(), completed: make(chan struct{})}
	s.queue.filled = sync.NewCond(&s.queue.Mutex)
	s.guard = newGuard(options.FS, s.latch)
	db, err := openPebble(options, s.guard, s.latch)
	if err != nil {
		return nil, err
	}
	s.guard.opened.Store(true)
	s.db = db
	s.start(options.OnFailure)
	return s, nil
}

// prepare makes a store that does not exist, or whose format is older than this package's, and closes it again. The first
// write-ahead log of such a store is begun before the format is raised: damage in it would be taken for its end and what
// follows would be lost without a word. Every log that is begun by a later Open is of the new format (R12).
func prepare(options Options) error {
	if err := options.FS.MkdirAll(options.Dir, 0o755); err != nil {
		return fmt.Errorf("pebblelog: %s: %w", options.Dir, err)
	}
	found, err := pebble.Peek(options.Dir, options.FS)
	if err != nil {
		return fmt.Errorf("pebblelog: %s: %w", options.Dir, err)
	}
	if found.Exists && found.FormatMajorVersion >= pebble.FormatWALSyncChunks {
		return nil
	}
	if !found.Exists {
		if err := checkNew(options.FS, options.Dir); err != nil {
			return fmt.Errorf("pebblelog: %s: %w", options.Dir, err)
		}
	}
	latch := newLatch()
	db, err := openPebble(options, newGuard(options.FS, latch), latch)
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return fmt.Errorf("pebblelog: %s: closing the new store: %w", options.Dir, err)
	}
	return latch.get()
}

// openPebble opens Pebble and refuses a database that has failed in some way that Open did not report.
func openPebble(options Options, guard *guard, latch *latch) (*pebble.DB, error) {
	fatal := logger{out: options.Logger, latch: latch}
	db, err := openInBackground(options.Dir, pebbleOptions(options, guard, fatal), guard)
	if err != nil {
		if failure := latch.get(); failure != nil {
			err = failure // what Pebble says is a consequence
		} else if pebble.IsCorruptionError(err) {
			err = fmt.Errorf("%w: %w", logdb.ErrDamaged, err)
		}
		return nil, fmt.Errorf("pebblelog: %s: %w", options.Dir, err)
	}
	if failure := latch.get(); failure != nil {
		_ = db.Close() // the failure is what matters
		return nil, fmt.Errorf("pebblelog: %s: %w", options.Dir, failure)
	}
	return db, nil
}

// recoverOpen turns a panic of Pebble's, which it raises for some faults of a disk, into an error.
func recoverOpen(dir string, options *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: pebble panicked: %v", logdb.ErrFailed, r)
		}
	}()
	return pebble.Open(dir, options)
}

// Name returns "pebble".
func (s *Store) Name() string { return "pebble" }

// Counters returns the counters as they stand now.
func (s *Store) Counters() Counters {
	return Counters{
		Commits:       s.counters.commits.Load(),
		SyncedCommits: s.counters.syncedCommits.Load(),
		Groups:        s.counters.groups.Load(),
		Bytes:         s.counters.bytes.Load(),
		FileSyncs:     s.guard.syncs.Load(),
		FileBytes:     s.guard.bytesWritten.Load(),
	}
}

// Close waits for the writes under way, calls their done, and closes Pebble. After a failure it closes what can be closed.
func (s *Store) Close() error {
	s.committing.Lock()
	if s.draining {
		s.committing.Unlock()
		return fmt.Errorf("%w: closed twice", logdb.ErrClosed)
	}
	s.draining = true
	s.committing.Unlock()

	s.stop()
	s.use.Lock()
	defer s.use.Unlock()
	s.closed = true
	s.guard.release()
	if s.wedged.Load() {
		// Pebble panicked with its mutex held: closing it would wait for ever. The process has to end anyway (R9).
		return s.latch.get()
	}
	if err := s.db.Close(); err != nil && s.latch.get() == nil {
		return fmt.Errorf("pebblelog: close: %w", err)
	}
	return nil
}

var _ logdb.LogDB = (*Store)(nil)
var _ logdb.MetricsReporter = (*Store)(nil)
var _ vfs.FS = (*guard)(nil)
