package seglog

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// hookedDirectoryFS calls a function within every sync of a directory.
type hookedDirectoryFS struct {
	vfs.FS
	sync func()
}

func (f *hookedDirectoryFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	return &hookedDirectory{file, f}, err
}

type hookedDirectory struct {
	vfs.File
	fs *hookedDirectoryFS
}

func (d *hookedDirectory) Sync() error {
	if d.fs.sync != nil {
		d.fs.sync()
	}
	return d.File.Sync()
}

// Metrics waited for a disk that did not answer while a segment got its name: just then they are looked at.
func TestMetricsDoNotWaitForTheDisk(t *testing.T) {
	fs := &hookedDirectoryFS{FS: vfs.NewMem()}
	s, err := Open(manual(fs))
	if err != nil {
		t.Fatal(err)
	}
	syncs := 0
	fs.sync = func() {
		syncs++
		if m := s.Metrics(); m.DiskBytes <= 0 {
			t.Errorf("%d bytes on disk", m.DiskBytes)
		}
		if space, err := s.Space(); err != nil || space.DiskBytes <= 0 {
			t.Errorf("%+v, %v", space, err)
		}
	}
	h := newWorkload(1, 3, 4000)
	var now time.Duration
	for range 100 {
		commit(t, s, h.next(), func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		})
		runIdle(s, &now)
	}
	if syncs == 0 {
		t.Error("no segment got a name")
	}
	fs.sync = nil
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
