package pebblelog

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// errFrozen is what Pebble's background work is told after a failure.
var errFrozen = errors.New("pebblelog: the store has failed, nothing is written any more")

// guard stands between Pebble and the file system and does four things.
//
// It latches: the first mutation of anything that fails latches the store's failure before Pebble hears of it, so that no
// success can be reported behind it.
//
// It swallows failures of the write-ahead log. When Pebble switches to a new log file and cannot close the old one or make
// the new one, it panics with a mutex in a state that ends the process, and no recover helps. So Pebble is told
// that all went well, while the file keeps what it has and gets nothing more. Nobody relies on Pebble's answer: the
// latch is set, and each completion looks at it after Pebble's (see Store.finish). What is on the disk stays a prefix of what was written.
//
// It freezes: after a failure nothing on the disk changes any more. Work in the background that would write is parked until
// the store is closed, since Pebble retries a failed flush at once and for ever.
//
// It orders: Pebble makes a manifest and the marker that names it and then syncs the directory once. Journaling file
// systems keep that order across a power cut, but none has to, and a marker without its manifest is a store that
// cannot be opened. So the directory is synced before the marker is made, too.
type guard struct {
	vfs.FS
	latch  *latch
	closed chan struct{} // closed when the store is being closed: parked work goes on, with errFrozen
	once   sync.Once

	// opened is set when Pebble's Open has returned. Before that failures of log files are not hidden, since Open returns them, and
	// the disk is not frozen at the first, since Open waits for a flush that is retried until it succeeds; after
	// maxOpenFailures it is, and Open is given up (see openPebble).
	opened  atomic.Bool
	givenUp chan struct{} // closed when work was parked before opened
	giveUp  sync.Once

	syncs        atomic.Uint64
	bytesWritten atomic.Uint64
	log          logMetrics
}

// maxOpenFailures is how often the disk, or Pebble after it, may fail while a store is opened before that is given up.
const maxOpenFailures = 8

func newGuard(fs vfs.FS, latch *latch) *guard {
	return &guard{FS: fs, latch: latch, closed: make(chan struct{}), givenUp: make(chan struct{})}
}

// release lets parked work go on to its end.
func (g *guard) release() { g.once.Do(func() { close(g.closed) }) }

// frozen returns nil while the store works. After a failure it waits for the store to be closed and returns errFrozen.
func (g *guard) frozen() error {
	if g.latch.get() == nil {
		return nil
	}
	if !g.opened.Load() && !g.hopeless() {
		return nil
	}
	<-g.closed
	return errFrozen
}

// hopeless reports whether opening the store has failed too often, and tells openPebble if so.
func (g *guard) hopeless() bool {
	if g.latch.failures.Load() < maxOpenFailures {
		return false
	}
	g.giveUp.Do(func() { close(g.givenUp) })
	return true
}

// backgroundError is called by Pebble when a flush or a compaction failed. Damage is not latched: it is in the data
// of some replicas, and those who read it will see it. Pebble's mutex is held, and while the store is opened parking with
// it is the way to end the retries.
func (g *guard) backgroundError(err error) {
	if pebble.IsCorruptionError(err) {
		return
	}
	g.latch.set(err)
	if !g.opened.Load() && g.hopeless() {
		<-g.closed
	}
}

// check latches the error of a mutation.
func (g *guard) check(err error) error {
	if err != nil {
		g.latch.set(err)
	}
	return err
}

func isLog(name string) bool { return strings.HasSuffix(name, ".log") }

func (g *guard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.create(name, func() (vfs.File, error) { return g.FS.Create(name, category) })
}

func (g *guard) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.create(newname, func() (vfs.File, error) { return g.FS.ReuseForWrite(oldname, newname, category) })
}

func (g *guard) create(name string, create func() (vfs.File, error)) (vfs.File, error) {
	log := isLog(name) && g.opened.Load()
	if log && g.latch.get() != nil {
		return hole{}, nil //nolint:nilerr // the latch has the failure, and Pebble must not hear of it
	}
	if err := g.frozen(); err != nil {
		return nil, err
	}
	if strings.HasPrefix(g.PathBase(name), "marker.manifest.") {
		if err := g.check(g.syncDirectory(name)); err != nil {
			return nil, err
		}
	}
	file, err := create()
	if g.check(err) != nil {
		if log {
			return hole{}, nil
		}
		return nil, err
	}
	return &guardedFile{File: file, guard: g, swallow: isLog(name), log: isLog(name)}, nil
}

// syncDirectory makes durable what stands in the directory of the named file.
func (g *guard) syncDirectory(name string) error {
	directory, err := g.FS.OpenDir(g.PathDir(name))
	if err != nil {
		return err
	}
	g.syncs.Add(1)
	return errors.Join(directory.Sync(), directory.Close())
}

func (g *guard) OpenDir(name string) (vfs.File, error) {
	file, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	// Directories are synced on the way to a new log file, too, and Pebble's markers panic when it fails.
	return &guardedFile{File: file, guard: g, swallow: true, directory: true}, nil
}

func (g *guard) OpenReadWrite(
	name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption,
) (vfs.File, error) {
	file, err := g.FS.OpenReadWrite(name, category, options...)
	if err != nil {
		return nil, err
	}
	return &guardedFile{File: file, guard: g}, nil
}

func (g *guard) Link(oldname, newname string) error {
	if err := g.frozen(); err != nil {
		return err
	}
	return g.check(g.FS.Link(oldname, newname))
}

func (g *guard) Rename(oldname, newname string) error {
	if err := g.frozen(); err != nil {
		return err
	}
	return g.check(g.FS.Rename(oldname, newname))
}

// frozenRemove refuses removals at once, also while the store is opened: what was to take the place of the file may be
// what failed.
func (g *guard) frozenRemove() error {
	if g.latch.get() == nil {
		return nil
	}
	if err := g.frozen(); err != nil {
		return err
	}
	return errFrozen
}

// Remove does not latch: a file that cannot be removed is a waste of space, and Pebble removes files that need not exist.
func (g *guard) Remove(name string) error {
	if err := g.frozenRemove(); err != nil {
		return err
	}
	return g.FS.Remove(name)
}

func (g *guard) RemoveAll(name string) error {
	if err := g.frozenRemove(); err != nil {
		return err
	}
	return g.FS.RemoveAll(name)
}

// Unwrap returns the file system underneath.
func (g *guard) Unwrap() vfs.FS { return g.FS }

// guardedFile is a file that was opened for writing, or a directory.
type guardedFile struct {
	vfs.File
	guard *guard
	// swallow: Pebble must not hear of a failure, once it is open, or never for a directory.
	swallow, directory bool
	log                bool // of the write-ahead log
}

func (f *guardedFile) swallows() bool { return f.swallow && (f.directory || f.guard.opened.Load()) }

// mutate does one mutation of the file, or does not, after a failure.
func (f *guardedFile) mutate(do func() error) error {
	if f.swallows() {
		if f.guard.latch.get() == nil {
			_ = f.guard.check(do())
		}
		return nil
	}
	if err := f.guard.frozen(); err != nil {
		return err
	}
	return f.guard.check(do())
}

func (f *guardedFile) Write(data []byte) (n int, err error) {
	err = f.mutate(func() (err error) {
		defer f.wrote(f.stopwatch(), &n)
		n, err = f.File.Write(data)
		f.guard.bytesWritten.Add(uint64(n))
		return err
	})
	if f.swallows() && err == nil {
		n = len(data)
	}
	return n, err
}

func (f *guardedFile) WriteAt(data []byte, offset int64) (n int, err error) {
	err = f.mutate(func() (err error) {
		n, err = f.File.WriteAt(data, offset)
		f.guard.bytesWritten.Add(uint64(n))
		return err
	})
	if f.swallows() && err == nil {
		n = len(data)
	}
	return n, err
}

func (f *guardedFile) Sync() error {
	f.guard.syncs.Add(1)
	defer f.synced(f.stopwatch())
	return f.mutate(f.File.Sync)
}

func (f *guardedFile) SyncData() error {
	f.guard.syncs.Add(1)
	defer f.synced(f.stopwatch())
	return f.mutate(f.File.SyncData)
}

func (f *guardedFile) SyncTo(length int64) (full bool, err error) {
	err = f.mutate(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// Stat is asked of a log file that is reused.
func (f *guardedFile) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	if err != nil && f.swallows() {
		f.guard.latch.set(err)
		return hole{}.Stat()
	}
	return info, err
}

// Close always closes, and an error of it counts as a failed write: some file systems report one only there.
func (f *guardedFile) Close() error {
	err := f.guard.check(f.File.Close())
	if f.swallows() {
		return nil
	}
	return err
}

// hole takes the place of a log file that could not be made, or must not be made any more.
type hole struct{}

func (hole) Close() error                              { return nil }
func (hole) Read([]byte) (int, error)                  { return 0, errFrozen }
func (hole) ReadAt([]byte, int64) (int, error)         { return 0, errFrozen }
func (hole) Write(data []byte) (int, error)            { return len(data), nil }
func (hole) WriteAt(data []byte, _ int64) (int, error) { return len(data), nil }
func (hole) Preallocate(int64, int64) error            { return nil }
func (hole) Stat() (vfs.FileInfo, error)               { return vfs.NewMemFile(nil).Stat() }
func (hole) Sync() error                               { return nil }
func (hole) SyncTo(int64) (bool, error)                { return true, nil }
func (hole) SyncData() error                           { return nil }
func (hole) Prefetch(int64, int64) error               { return nil }
func (hole) Fd() uintptr                               { return vfs.InvalidFd }
