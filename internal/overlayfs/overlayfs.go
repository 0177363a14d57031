package overlayfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS shows a file system below and keeps changes in memory. See the package's documentation.
type FS struct {
	below  vfs.FS
	memory *vfs.MemFS

	mu     sync.Mutex
	hidden map[string]bool // removed, or replaced by a directory in memory
}

var _ vfs.FS = (*FS)(nil)

// New returns a file system that shows below.
func New(below vfs.FS) *FS {
	return &FS{below: below, memory: vfs.NewMem(), hidden: make(map[string]bool)}
}

// inMemory says whether a name exists in memory.
func (o *FS) inMemory(name string) bool {
	_, err := o.memory.Stat(name)
	return err == nil
}

func (o *FS) isHidden(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name = filepath.Clean(name); ; name = filepath.Dir(name) {
		if o.hidden[name] {
			return true
		}
		if name == filepath.Dir(name) {
			return false
		}
	}
}

func (o *FS) hide(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hidden[filepath.Clean(name)] = true
}

func notExist(operation, name string) error {
	return &os.PathError{Op: operation, Path: name, Err: os.ErrNotExist}
}

// parent makes the directory of a name in memory, if it exists at all.
func (o *FS) parent(name string) error {
	directory := filepath.Dir(filepath.Clean(name))
	if o.inMemory(directory) {
		return nil
	}
	if _, err := o.Stat(directory); err != nil {
		return err
	}
	return o.memory.MkdirAll(directory, 0o700)
}

// copyUp brings a file into memory.
func (o *FS) copyUp(name string) error {
	if o.inMemory(name) {
		return nil
	}
	if o.isHidden(name) {
		return notExist("open", name)
	}
	source, err := o.below.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	if err := o.parent(name); err != nil {
		return err
	}
	target, err := o.memory.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// Create implements vfs.FS.
func (o *FS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := o.parent(name); err != nil {
		return nil, err
	}
	return o.memory.Create(name, category)
}

// Link implements vfs.FS. The linked file is a copy, which makes a difference only to who writes to it.
func (o *FS) Link(oldName, newName string) error {
	if err := errors.Join(o.copyUp(oldName), o.parent(newName)); err != nil {
		return err
	}
	if _, err := o.Stat(newName); err == nil {
		return &os.LinkError{Op: "link", Old: oldName, New: newName, Err: os.ErrExist}
	}
	return o.memory.Link(oldName, newName)
}

// Open implements vfs.FS.
func (o *FS) Open(name string, options ...vfs.OpenOption) (vfs.File, error) {
	switch {
	case o.inMemory(name):
		return o.memory.Open(name, options...)
	case o.isHidden(name):
		return nil, notExist("open", name)
	}
	return o.below.Open(name, options...)
}

// OpenReadWrite implements vfs.FS.
func (o *FS) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	if err := o.copyUp(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := o.parent(name); err != nil {
		return nil, err
	}
	return o.memory.OpenReadWrite(name, category, options...)
}

// OpenDir implements vfs.FS.
func (o *FS) OpenDir(name string) (vfs.File, error) {
	if !o.inMemory(name) {
		if _, err := o.Stat(name); err != nil {
			return nil, err
		}
		if err := o.memory.MkdirAll(name, 0o700); err != nil {
			return nil, err
		}
	}
	return o.memory.OpenDir(name)
}

// Remove implements vfs.FS.
func (o *FS) Remove(name string) error {
	if _, err := o.Stat(name); err != nil {
		return err
	}
	if o.inMemory(name) {
		if err := o.memory.Remove(name); err != nil {
			return err
		}
	}
	o.hide(name)
	return nil
}

// RemoveAll implements vfs.FS.
func (o *FS) RemoveAll(name string) error {
	o.hide(name)
	return o.memory.RemoveAll(name)
}

// Rename implements vfs.FS. Directories of the file system below cannot be renamed.
func (o *FS) Rename(oldName, newName string) error {
	if filepath.Clean(oldName) == filepath.Clean(newName) {
		_, err := o.Stat(oldName)
		return err
	}
	if err := errors.Join(o.copyUp(oldName), o.parent(newName)); err != nil {
		return err
	}
	if err := o.memory.Rename(oldName, newName); err != nil {
		return err
	}
	o.hide(oldName)
	return nil
}

// ReuseForWrite implements vfs.FS.
func (o *FS) ReuseForWrite(oldName, newName string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := o.Rename(oldName, newName); err != nil {
		return nil, err
	}
	return o.memory.OpenReadWrite(newName, category)
}

// MkdirAll implements vfs.FS.
func (o *FS) MkdirAll(name string, mode os.FileMode) error {
	if info, err := o.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	return o.memory.MkdirAll(name, mode)
}

type unlocked struct{}

func (unlocked) Close() error { return nil }

// Lock locks a file that exists below. One that does not is nobody's.
func (o *FS) Lock(name string) (io.Closer, error) {
	_, err := o.below.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return unlocked{}, nil
	case err != nil:
		return nil, err
	}
	return o.below.Lock(name)
}

// List implements vfs.FS.
func (o *FS) List(name string) ([]string, error) {
	if _, err := o.Stat(name); err != nil {
		return nil, err
	}
	var names []string
	if !o.isHidden(name) {
		below, err := o.below.List(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, child := range below {
			if !o.isHidden(filepath.Join(name, child)) {
				names = append(names, child)
			}
		}
	}
	if o.inMemory(name) {
		above, err := o.memory.List(name)
		if err != nil {
			return nil, err
		}
		names = append(names, above...)
	}
	slices.SortFunc(names, strings.Compare)
	return slices.Compact(names), nil
}

// Stat implements vfs.FS.
func (o *FS) Stat(name string) (vfs.FileInfo, error) {
	switch {
	case o.inMemory(name):
		return o.memory.Stat(name)
	case o.isHidden(name):
		return nil, notExist("stat", name)
	}
	return o.below.Stat(name)
}

// PathBase implements vfs.FS.
func (o *FS) PathBase(path string) string { return o.below.PathBase(path) }

// PathJoin implements vfs.FS.
func (o *FS) PathJoin(elements ...string) string { return o.below.PathJoin(elements...) }

// PathDir implements vfs.FS.
func (o *FS) PathDir(path string) string { return o.below.PathDir(path) }

// GetDiskUsage implements vfs.FS: the room of the file system below, none of which is used.
func (o *FS) GetDiskUsage(path string) (vfs.DiskUsage, error) { return o.below.GetDiskUsage(path) }

// Unwrap returns nil: whoever reached the file system below could change it.
func (o *FS) Unwrap() vfs.FS { return nil }
