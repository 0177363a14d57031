package nodehost_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// stallFS is a file system whose writes and syncs do not return while it is stalled.
type stallFS struct {
	vfs.FS
	gate sync.RWMutex // held while it is stalled
}

func (s *stallFS) pass() {
	s.gate.RLock()
	defer s.gate.RUnlock()
}

func (s *stallFS) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &stallFile{file, s}, nil
}

func (s *stallFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return s.wrap(s.FS.Create(name, category))
}

func (s *stallFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	return s.wrap(s.FS.OpenReadWrite(name, category, options...))
}

func (s *stallFS) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return s.wrap(s.FS.ReuseForWrite(old, name, category))
}

type stallFile struct {
	vfs.File
	fs *stallFS
}

func (f *stallFile) Write(p []byte) (int, error) {
	f.fs.pass()
	return f.File.Write(p)
}

func (f *stallFile) WriteAt(p []byte, offset int64) (int, error) {
	f.fs.pass()
	return f.File.WriteAt(p, offset)
}

func (f *stallFile) Sync() error {
	f.fs.pass()
	return f.File.Sync()
}

func (f *stallFile) SyncData() error {
	f.fs.pass()
	return f.File.SyncData()
}

func (f *stallFile) SyncTo(length int64) (bool, error) {
	f.fs.pass()
	return f.File.SyncTo(length)
}

// A disk that stalls is noticed, on either log store. A leader gives its leadership up, a follower holds nobody up; when the stall is over
// both go on without a restart, and nothing that was acknowledged is missing.
func TestAStalledDiskIsNoticedAndEnds(t *testing.T) {
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) { stallDisks(t, store) })
	}
}

func stallDisks(t *testing.T, store store) {
	c := newCluster(t, 3)
	disks := make([]*stallFS, 3)
	var stalled, recovered [3]atomic.Int32
	for i := range disks {
		disks[i] = &stallFS{FS: vfs.Default}
	}
	c.configure = func(i int, config *nodehost.Config) {
		config.FS, config.LogDB, config.Tuning.MaxStall = disks[i], store.open, 300*time.Millisecond
		config.Events.StorageStalled = func() { stalled[i].Add(1) }
		config.Events.StorageRecovered = func() { recovered[i].Add(1) }
	}
	c.startAll(1)
	written := 0
	write := func(host int) {
		written++
		write(t, c.shard(host, 1), fmt.Sprint("command ", written))
	}
	write(c.leader(1))
	for _, leads := range []bool{true, false} {
		host := c.leader(1)
		if !leads {
			host = (host + 1) % 3
		}
		other := (host + 1) % 3
		events := stalled[host].Load()
		disks[host].gate.Lock()
		var asked atomic.Bool // something has to be written; what is refused is asked for again, what is accepted may be applied once the stall is over
		c.eventually("the stall is told", func() bool {
			if !asked.Swap(true) {
				again := func(_ rsm.Result, err error) { asked.Store(err == nil) }
				if err := c.shard(host, 1).ProposeAsync([]byte("in the stall"), again); err != nil {
					asked.Store(false)
				}
			}
			info := c.hosts[host].Info()
			return stalled[host].Load() > events && info.StorageStalled && info.Engine.StorageStalls > 0 && info.Engine.OldestWrite > 300*time.Millisecond
		})
		c.eventually("another host leads", func() bool {
			leader, _, known := c.shard(other, 1).Leader()
			return known && leader != uint64(host+1)
		})
		for range 5 {
			write(other)
		}
		disks[host].gate.Unlock()
		c.eventually("the end of the stall is told", func() bool { return recovered[host].Load() > 0 && !c.hosts[host].Info().StorageStalled })
		write(host)
	}
	c.eventually("the same state everywhere", func() bool {
		return fmt.Sprint(c.read(0, 1)) == fmt.Sprint(c.read(1, 1)) && fmt.Sprint(c.read(1, 1)) == fmt.Sprint(c.read(2, 1))
	})
	var wanted []string
	for i := range written {
		wanted = append(wanted, fmt.Sprint("command ", i+1))
	}
	if command, lost := missing(c.read(0, 1), wanted); lost {
		t.Errorf("%q is lost", command)
	}
}
