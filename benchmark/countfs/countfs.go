package countfs

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is a file system that counts syncs. It may be used from any goroutine.
type FS struct {
	vfs.FS
	syncs atomic.Uint64
}

// New wraps a file system.
func New(fs vfs.FS) *FS { return &FS{FS: fs} }

// Syncs returns how many syncs were made so far, failed ones included.
func (f *FS) Syncs() uint64 { return f.syncs.Load() }

// CountSync counts a sync that was made without this file system.
func (f *FS) CountSync() { f.syncs.Add(1) }

// Unwrap returns the wrapped file system.
func (f *FS) Unwrap() vfs.FS { return f.FS }

// Create implements vfs.FS.
func (f *FS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.wrap(f.FS.Create(name, category))
}

// Open implements vfs.FS.
func (f *FS) Open(name string, options ...vfs.OpenOption) (vfs.File, error) {
	return f.wrap(f.FS.Open(name, options...))
}

// OpenReadWrite implements vfs.FS.
func (f *FS) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	return f.wrap(f.FS.OpenReadWrite(name, category, options...))
}

// OpenDir implements vfs.FS.
func (f *FS) OpenDir(name string) (vfs.File, error) { return f.wrap(f.FS.OpenDir(name)) }

// ReuseForWrite implements vfs.FS.
func (f *FS) ReuseForWrite(oldName, newName string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.wrap(f.FS.ReuseForWrite(oldName, newName, category))
}

func (f *FS) wrap(wrapped vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &file{File: wrapped, syncs: &f.syncs}, nil
}

type file struct {
	vfs.File
	syncs *atomic.Uint64
}

func (f *file) Sync() error {
	f.syncs.Add(1)
	return f.File.Sync()
}

func (f *file) SyncData() error {
	f.syncs.Add(1)
	return f.File.SyncData()
}

func (f *file) SyncTo(length int64) (fullSync bool, err error) {
	fullSync, err = f.File.SyncTo(length)
	if fullSync {
		f.syncs.Add(1)
	}
	return fullSync, err
}
