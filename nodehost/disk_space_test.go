package nodehost_test

import (
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
)

// disksFS is a file system where one directory is a disk of its own, which is full.
type disksFS struct {
	vfs.FS
	full atomic.Pointer[string]
}

func (f *disksFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	if full := f.full.Load(); full != nil && path == *full {
		return vfs.DiskUsage{AvailBytes: 1, TotalBytes: 1 << 40, UsedBytes: 1<<40 - 1}, nil
	}
	return vfs.DiskUsage{AvailBytes: 1 << 39, TotalBytes: 1 << 40, UsedBytes: 1 << 39}, nil
}

// The reserve was looked for on the data directory's disk alone: a log, of one lane, on a disk mounted at its directory ran full unseen.
func TestTheReserveIsKeptOnEveryDisk(t *testing.T) {
	for name, further := range map[string][]string{"one lane": nil, "two lanes": {filepath.Join(t.TempDir(), "log")}} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1)
			disks := &disksFS{FS: vfs.Default}
			c.configure = func(_ int, config *nodehost.Config) {
				config.FS, config.LogDB = disks, nodehost.SegmentedLog(seglog.Options{SegmentBytes: 256 << 10, Directories: further})
			}
			c.startAll(1)
			own := c.dirs[0]
			directories := further
			if len(directories) == 0 {
				directories = []string{filepath.Join(own, "log"), filepath.Join(own, "snapshots")}
			}
			for _, directory := range directories {
				disks.full.Store(&directory)
				c.eventually("it is seen that there is no room in "+directory, func() bool { return c.hosts[0].Info().DiskFull })
				disks.full.Store(nil)
				c.eventually("it is seen that there is room again", func() bool { return !c.hosts[0].Info().DiskFull })
			}
		})
	}
}
