package pebblekv

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrFailed says that the disk failed a write or a sync, or that Pebble could not go on; nothing is written since.
var ErrFailed = errors.New("pebblekv: the store has failed")

var errFrozen = fmt.Errorf("%w: nothing is written any more", ErrFailed)

// latch holds the first failure for good. set may be called with any of Pebble's locks held, so it waits for nobody.
type latch struct {
	once   sync.Once
	err    atomic.Pointer[error]
	failed chan struct{} // closed once err is set
}

func (l *latch) set(err error) {
	l.once.Do(func() {
		err = fmt.Errorf("%w: %w", ErrFailed, err)
		l.err.Store(&err)
		close(l.failed)
	})
}

func (l *latch) get() error {
	if err := l.err.Load(); err != nil {
		return *err
	}
	return nil
}

// logger receives what Pebble logs. Fatalf is its way to say that it cannot go on and expects the process to end; ours latches and returns.
type logger struct {
	out   *slog.Logger
	latch *latch
}

func (l logger) Infof(format string, arguments ...any) {
	l.out.Debug("pebble: " + fmt.Sprintf(format, arguments...))
}

func (l logger) Errorf(format string, arguments ...any) {
	l.out.Error("pebble: " + fmt.Sprintf(format, arguments...))
}

func (l logger) Fatalf(format string, arguments ...any) {
	err := fmt.Errorf("pebble: "+format, arguments...)
	l.latch.set(err)
	l.out.Error("pebble cannot go on, its state machine takes no more updates", "error", err)
}

// guard stands between Pebble and the file system. It latches the first failure, before Pebble hears of it, and then freezes: work in the background
// that would write is parked until the machine is closed. While Open runs nothing is parked, for it returns its errors.
//
// It swallows failures of the manifest: Pebble has changed itself half by the time that it writes there, takes a failure for its end, and panics in the
// background if it has to go on after all. So it is told that all went well, while the manifest keeps what it has, which is one that can be opened.
// Nobody relies on Pebble's answers: the latch is set.
//
// It also syncs the directory before Pebble makes the marker that names a new manifest: Pebble syncs it once, after both, and a
// file system that kept the marker alone would leave a store that cannot be opened.
type guard struct {
	vfs.FS
	latch  *latch
	opened atomic.Bool
	closed chan struct{} // parked work goes on, with errFrozen
}

// frozen waits for the close, and returns errFrozen, once something failed.
func (g *guard) frozen() error {
	if g.latch.get() == nil || !g.opened.Load() {
		return nil
	}
	<-g.closed
	return errFrozen
}

// do makes a change of the disk.
func (g *guard) do(change func() error) error {
	if err := g.frozen(); err != nil {
		return err
	}
	err := change()
	if err != nil {
		g.latch.set(err)
	}
	return err
}

// swallows reports whether failures with a file are hidden from Pebble.
func (g *guard) swallows(name string) bool {
	base := g.PathBase(name)
	return g.opened.Load() && (strings.HasPrefix(base, "MANIFEST") || strings.HasPrefix(base, "marker."))
}

// doFor is do for one file.
func (g *guard) doFor(name string, change func() error) error {
	if !g.swallows(name) {
		return g.do(change)
	}
	if g.latch.get() == nil {
		if err := change(); err != nil {
			g.latch.set(err)
		}
	}
	return nil
}

func (g *guard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	var file vfs.File
	err := g.doFor(name, func() (err error) {
		if strings.HasPrefix(g.PathBase(name), "marker.") {
			if err := syncDirectory(g.FS, g.PathDir(name)); err != nil {
				return err
			}
		}
		file, err = g.FS.Create(name, category)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case file == nil:
		return hole{}, nil
	}
	return &guardedFile{file, g, name}, nil
}

// hole takes the place of a file that could not be made and whose failure is swallowed.
type hole struct{ vfs.File }

func (hole) Write(data []byte) (int, error) { return len(data), nil }
func (hole) Sync() error                    { return nil }
func (hole) SyncData() error                { return nil }
func (hole) SyncTo(int64) (bool, error)     { return true, nil }
func (hole) Preallocate(_, _ int64) error   { return nil }
func (hole) Close() error                   { return nil }
func (hole) Fd() uintptr                    { return vfs.InvalidFd }

func (g *guard) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (file vfs.File, err error) {
	err = g.do(func() (err error) {
		file, err = g.FS.OpenReadWrite(name, category, options...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &guardedFile{file, g, name}, nil
}

func (g *guard) OpenDir(name string) (vfs.File, error) {
	file, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &guardedDirectory{file, g}, nil
}

func (g *guard) Link(oldname, newname string) error {
	return g.do(func() error { return g.FS.Link(oldname, newname) })
}

func (g *guard) Rename(oldname, newname string) error {
	return g.do(func() error { return g.FS.Rename(oldname, newname) })
}

// Remove does not latch: what cannot be removed is a waste of space. What is to take its place may have failed, though.
func (g *guard) Remove(name string) error {
	if g.latch.get() != nil {
		return errFrozen
	}
	return g.FS.Remove(name)
}

func (g *guard) Unwrap() vfs.FS { return g.FS }

// guardedFile guards what is written to a file.
type guardedFile struct {
	vfs.File
	guard *guard
	name  string
}

func (f *guardedFile) Write(data []byte) (int, error) {
	if err := f.guard.doFor(f.name, func() error { _, err := f.File.Write(data); return err }); err != nil {
		return 0, err
	}
	return len(data), nil
}

func (f *guardedFile) Sync() error     { return f.guard.doFor(f.name, f.File.Sync) }
func (f *guardedFile) SyncData() error { return f.guard.doFor(f.name, f.File.SyncData) }

func (f *guardedFile) SyncTo(length int64) (full bool, err error) {
	err = f.guard.doFor(f.name, func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// guardedDirectory hides failures of syncs from Pebble, which panics at them with locks held. Nobody relies on its answer: the latch is set.
type guardedDirectory struct {
	vfs.File
	guard *guard
}

func (d *guardedDirectory) Sync() error {
	if d.guard.latch.get() == nil {
		if err := d.File.Sync(); err != nil {
			d.guard.latch.set(err)
		}
	}
	return nil
}

func syncDirectory(files vfs.FS, path string) error {
	directory, err := files.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// makeDirectory makes a directory durably, with those above it.
func makeDirectory(files vfs.FS, path string) error {
	var made []string
	for at := path; ; at = files.PathDir(at) {
		if _, err := files.Stat(at); err == nil || files.PathDir(at) == at {
			break
		}
		made = append(made, at)
	}
	if err := files.MkdirAll(path, 0o755); err != nil {
		return err
	}
	for _, at := range made {
		if err := syncDirectory(files, files.PathDir(at)); err != nil {
			return err
		}
	}
	return nil
}
