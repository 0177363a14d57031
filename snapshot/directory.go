package snapshot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	wholePrefix   = "snapshot-"
	pendingPrefix = "pending-"
)

// Name names a snapshot in a directory.
type Name struct {
	ShardID, ReplicaID uint64
	Index              uint64
}

func (n Name) file() string {
	return fmt.Sprintf("%s%016x-%016x-%016x", wholePrefix, n.ShardID, n.ReplicaID, n.Index)
}

// parseName reads a file's name; ok is false for any other file.
func parseName(file string) (n Name, ok bool) {
	if count, err := fmt.Sscanf(file, wholePrefix+"%016x-%016x-%016x", &n.ShardID, &n.ReplicaID, &n.Index); err != nil || count != 3 {
		return Name{}, false
	}
	return n, n.file() == file
}

// Directory keeps the snapshots of a host's replicas. Safe for concurrent use.
type Directory struct {
	fs   vfs.FS
	path string
	dir  vfs.File

	mu      sync.Mutex
	number  uint64 // of the last pending file
	catalog catalog
	removed bool // a file, since the directory was synced
}

// OpenDirectory opens a directory, made if it does not exist, and removes what was never finished.
func OpenDirectory(files vfs.FS, path string) (d *Directory, err error) {
	fail := func(err error) (*Directory, error) { return nil, fmt.Errorf("snapshot: directory %s: %w", path, err) }
	if _, err := files.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(files.MkdirAll(path, 0o700), syncDirectory(files, files.PathDir(path))); err != nil {
			return fail(err)
		}
	}
	d = &Directory{fs: files, path: path}
	if d.dir, err = files.OpenDir(path); err != nil {
		return fail(err)
	}
	names, err := files.List(path)
	if err != nil {
		return fail(errors.Join(err, d.dir.Close()))
	}
	for _, name := range names {
		if whole, ok := parseName(name); ok {
			d.catalog.add(whole)
		}
		if strings.HasPrefix(name, pendingPrefix) {
			if err := files.Remove(files.PathJoin(path, name)); err != nil {
				return fail(errors.Join(err, d.dir.Close()))
			}
		}
	}
	return d, nil
}

func syncDirectory(files vfs.FS, path string) error {
	dir, err := files.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Close releases the directory. Pending files are removed at the next OpenDirectory.
func (d *Directory) Close() error { return d.dir.Close() }

func (d *Directory) join(name string) string { return d.fs.PathJoin(d.path, name) }

// Pending is a snapshot that is being taken or received: an io.Writer for a Writer, or for what a Reader has checked. It belongs to one
// goroutine until it is published or abandoned.
type Pending struct {
	directory *Directory
	name      string
	file      vfs.File
	buffer    []byte // a copy of what is written: a vfs.File may change what it is given, an io.Writer must not
	written   int64  // bytes
	flushed   int64  // of them, those that the disk was asked to write
	synced    bool
	err       error
}

// flushEvery is after how many bytes the disk is asked to write what is pending. Without that a gigabyte would wait for the Sync, and the syncs of the
// log on the same disk would wait behind it.
const flushEvery = 4 << 20

// Create begins a snapshot.
func (d *Directory) Create() (*Pending, error) {
	d.mu.Lock()
	d.number++
	name := fmt.Sprintf("%s%d", pendingPrefix, d.number)
	d.mu.Unlock()
	file, err := d.fs.Create(d.join(name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("snapshot: create %s: %w", d.join(name), err)
	}
	return &Pending{directory: d, name: name, file: file}, nil
}

// Write implements io.Writer. After an error nothing of the snapshot can be believed: Publish returns it.
func (p *Pending) Write(data []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	p.buffer = append(p.buffer[:0], data...)
	n, err := p.file.Write(p.buffer)
	if err != nil {
		p.err = fmt.Errorf("snapshot: write %s: %w", p.name, err)
	}
	if p.written += int64(n); p.err == nil && p.written-p.flushed >= flushEvery {
		if _, err := p.file.SyncTo(p.written); err != nil { // no promise of anything, but an error is one
			p.err = fmt.Errorf("snapshot: write %s: %w", p.name, err)
		}
		p.flushed = p.written
	}
	return n, p.err
}

// Sync makes what was written durable, and ends the writing. It may take long; snapshots of several goroutines sync side by side and
// are then published together.
func (p *Pending) Sync() error {
	if p.err == nil && !p.synced {
		if p.err = p.file.Sync(); p.err == nil {
			p.err = p.file.Close()
			p.file, p.buffer = nil, nil
		}
		p.synced = p.err == nil
	}
	return p.err
}

// Abandon removes an unfinished snapshot. It does nothing to one that was published.
func (p *Pending) Abandon() error {
	if p.directory == nil {
		return nil
	}
	var err error
	if p.file != nil {
		err = p.file.Close()
	}
	err = errors.Join(err, p.directory.fs.Remove(p.directory.join(p.name)))
	p.directory = nil
	if err != nil {
		return fmt.Errorf("snapshot: abandon %s: %w", p.name, err)
	}
	return nil
}

// Finished is a pending snapshot and the name that it is to have.
type Finished struct {
	Pending *Pending
	Name    Name
}

// Publish makes finished snapshots part of the directory, durably, with one sync of the directory for all of them. Those that cannot be
// published are abandoned and named in the error; the others are there. A snapshot of the same name is replaced.
func (d *Directory) Publish(finished ...Finished) error {
	var failures error
	published := false
	for _, f := range finished {
		err := f.Pending.Sync()
		if err == nil {
			err = d.fs.Rename(d.join(f.Pending.name), d.join(f.Name.file()))
		}
		if err != nil {
			failures = errors.Join(failures, fmt.Errorf("snapshot: publish %s: %w", f.Name.file(), err), f.Pending.Abandon())
			continue
		}
		f.Pending.directory = nil
		d.mu.Lock()
		d.catalog.add(f.Name)
		d.mu.Unlock()
		published = true
	}
	if !published {
		return failures
	}
	return errors.Join(failures, d.sync())
}

// Adopt gives a whole, durable snapshot file outside of the directory a second name in it, durably. The file keeps the name it
// has, so that it may be adopted again after a crash; one that is there is replaced. Where files cannot have two names it is copied.
func (d *Directory) Adopt(path string, name Name) error {
	fail := func(err error) error { return fmt.Errorf("snapshot: adopt %s as %s: %w", path, name.file(), err) }
	if err := d.fs.Remove(d.join(name.file())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	if err := vfs.LinkOrCopy(d.fs, path, d.join(name.file())); err != nil {
		return fail(err)
	}
	if err := d.sync(); err != nil {
		return fail(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.catalog.add(name)
	return nil
}

// List returns the snapshots of a replica, newest first.
func (d *Directory) List(shardID, replicaID uint64) []Name {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.catalog.list(owner{shardID, replicaID})
}

// All returns every snapshot, by shard and replica, newest first.
func (d *Directory) All() []Name {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.catalog.all()
}

// Path returns the path of a snapshot, for messages.
func (d *Directory) Path(name Name) string { return d.join(name.file()) }

// Size returns the length of a snapshot's file.
func (d *Directory) Size(name Name) (int64, error) {
	info, err := d.fs.Stat(d.join(name.file()))
	if err != nil {
		return 0, fmt.Errorf("snapshot: %s: %w", name.file(), err)
	}
	return info.Size(), nil
}

// Open opens a snapshot for reading.
func (d *Directory) Open(name Name) (vfs.File, error) {
	file, err := d.fs.Open(d.join(name.file()), vfs.SequentialReadsOption)
	if err != nil {
		return nil, fmt.Errorf("snapshot: open %s: %w", name.file(), err)
	}
	return file, nil
}

// File is a snapshot's file for reading at any place. It may be removed from the directory while it is open.
type File interface {
	io.ReaderAt
	io.Closer
}

// OpenAt opens a snapshot for reading at any place, and returns its length.
func (d *Directory) OpenAt(name Name) (File, uint64, error) {
	file, err := d.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("snapshot: %s: %w", name.file(), err), file.Close())
	}
	return file, uint64(info.Size()), nil
}

// Retain removes all but the newest snapshots of a replica; keep 0 removes all. The removal is durable no later than the next Publish: a
// snapshot that comes back after a crash is whole.
func (d *Directory) Retain(shardID, replicaID uint64, keep int) error {
	names := d.List(shardID, replicaID)
	for _, name := range names[min(keep, len(names)):] {
		if err := d.RemoveOne(name); err != nil {
			return err
		}
	}
	return nil
}

// RemoveOne removes a snapshot, durably no later than the next Publish.
func (d *Directory) RemoveOne(name Name) error {
	if err := d.fs.Remove(d.join(name.file())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("snapshot: remove %s: %w", name.file(), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.catalog.remove(name)
	d.removed = true
	return nil
}

// Remove removes all snapshots of a replica and returns once that is durable, what was removed of it before included.
func (d *Directory) Remove(shardID, replicaID uint64) error {
	if err := d.Retain(shardID, replicaID, 0); err != nil {
		return err
	}
	d.mu.Lock()
	removed := d.removed
	d.mu.Unlock()
	if !removed {
		return nil
	}
	return d.sync()
}

func (d *Directory) sync() error {
	d.mu.Lock()
	removed := d.removed
	d.removed = false // what is removed while it syncs is for the next one
	d.mu.Unlock()
	err := d.dir.Sync()
	if err == nil {
		return nil
	}
	d.mu.Lock()
	d.removed = d.removed || removed
	d.mu.Unlock()
	return fmt.Errorf("snapshot: sync %s: %w", d.path, err)
}
