package nodehost_test

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// powerSwitch keeps syncs from ending while a cut is made, or from doing anything at all.
type powerSwitch struct {
	mu           sync.RWMutex
	withoutSyncs bool
	asked        func() // called before each sync, if set before the disks are used
}

func (p *powerSwitch) sync(do func() error) error {
	if p.asked != nil {
		p.asked()
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.withoutSyncs {
		return nil
	}
	return do()
}

// cutFS is a disk whose syncs go through a power switch.
type cutFS struct {
	vfs.FS
	power *powerSwitch
}

func (f *cutFS) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &cutFile{file, f.power}, nil
}

func (f *cutFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.wrap(f.FS.Create(name, category))
}

func (f *cutFS) Open(name string, options ...vfs.OpenOption) (vfs.File, error) {
	return f.wrap(f.FS.Open(name, options...))
}

func (f *cutFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	return f.wrap(f.FS.OpenReadWrite(name, category, options...))
}

func (f *cutFS) OpenDir(name string) (vfs.File, error) { return f.wrap(f.FS.OpenDir(name)) }

func (f *cutFS) ReuseForWrite(oldName, newName string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.wrap(f.FS.ReuseForWrite(oldName, newName, category))
}

func (f *cutFS) Unwrap() vfs.FS { return f.FS }

type cutFile struct {
	vfs.File
	power *powerSwitch
}

func (f *cutFile) Sync() error     { return f.power.sync(f.File.Sync) }
func (f *cutFile) SyncData() error { return f.power.sync(f.File.SyncData) }

func (f *cutFile) SyncTo(length int64) (full bool, err error) {
	err = f.power.sync(func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}
