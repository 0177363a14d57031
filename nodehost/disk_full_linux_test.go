package nodehost_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/flotilla-raft/flotilla/nodehost"
)

const (
	smallDisk    = 192 << 20
	smallReserve = 32 << 20
)

// mountSmallDisk gives a host a file system of its own, of smallDisk bytes.
func mountSmallDisk(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk))
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Skip("mounting a small file system takes root: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// ballast fills a host's disk up to some free bytes and returns what removes it.
func ballast(t *testing.T, dir string, free uint64) (release func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 256<<10)
	for {
		var stat unix.Statfs_t
		if err := unix.Statfs(dir, &stat); err != nil {
			t.Fatal(err)
		}
		available := stat.Bavail * uint64(stat.Bsize)
		if available <= free {
			break
		}
		if _, err := file.Write(block[:min(uint64(len(block)), available-free)]); err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		} else if err != nil {
			break
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// write proposes until a command is applied, passing over refusals that had no effect.
func write(t *testing.T, shard *nodehost.Shard, command string) {
	t.Helper()
	eventually(t, "a write of "+command, func() bool {
		_, err := shard.Propose(patient(t), []byte(command))
		if err != nil && nodehost.MaybeApplied(err) && !errors.Is(err, nodehost.ErrLeaderChanged) && !errors.Is(err, nodehost.ErrTimeout) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// TestFullDisksRefuseWritesAndServeReads fills the disks of a leader, then of a majority, and frees them.
func TestFullDisksRefuseWritesAndServeReads(t *testing.T) {
	c := newCluster(t, 3)
	for _, dir := range c.dirs {
		mountSmallDisk(t, dir)
	}
	c.configure = func(_ int, config *nodehost.Config) { config.DiskReserveBytes = smallReserve }
	c.startAll(1)
	leader := c.leader(1)
	write(t, c.shard(leader, 1), "before")

	release := []func(){ballast(t, c.dirs[leader], smallReserve/2)}
	c.eventually("that it is full is seen", func() bool { return c.hosts[leader].Info().DiskFull })
	c.eventually("leadership moves to a host with room", func() bool {
		now := c.leader(1)
		return now != leader
	})
	write(t, c.shard(c.leader(1), 1), "one disk is full") // the host without room refuses, wherever the leader is

	var second int
	c.eventually("one of those with room leads", func() bool { second = c.leader(1); return second != leader })
	release = append(release, ballast(t, c.dirs[second], smallReserve/2))
	c.eventually("that the second one is full is seen", func() bool { return c.hosts[second].Info().DiskFull })
	c.eventually("a refusal", func() bool {
		for i := range c.hosts {
			ctx, cancel := context.WithCancel(patient(t))
			_, err := c.shard(i, 1).Propose(ctx, []byte("refused"))
			cancel()
			if errors.Is(err, nodehost.ErrDiskFull) {
				if nodehost.MaybeApplied(err) {
					t.Fatal("a refusal for want of room says that it may be applied: ", err)
				}
				return true
			}
		}
		return false
	})
	c.eventually("a read", func() bool {
		_, err := c.shard(c.leader(1), 1).Read(patient(t), "size")
		return err == nil
	})

	for _, free := range release {
		free()
	}
	write(t, c.shard(0, 1), "after")
}

// TestARealENOSPCStopsOneHostOnly lets the log of one host run into the end of its disk, which no reserve kept it from.
func TestARealENOSPCStopsOneHostOnly(t *testing.T) {
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) { runIntoTheEnd(t, store) })
	}
}

func runIntoTheEnd(t *testing.T, store store) {
	c := newCluster(t, 3)
	mountSmallDisk(t, c.dirs[0])
	failed := make(chan error, 1)
	c.configure = func(i int, config *nodehost.Config) {
		config.LogDB = store.open
		if i == 0 {
			config.DiskReserveBytes = -1
			config.Events.StorageFailed = func(err error) {
				select {
				case failed <- err:
				default:
				}
			}
		}
	}
	c.startAll(1)
	write(t, c.shard(c.leader(1), 1), "before")
	release := ballast(t, c.dirs[0], 0)
	command := make([]byte, 64<<10)
	for i := 0; ; i++ {
		copy(command, fmt.Sprint("command ", i))
		_, err := c.shard(1, 1).Propose(patient(t), command)
		if err != nil && !errors.Is(err, nodehost.ErrMaybeApplied) && !errors.Is(err, nodehost.ErrBusy) && !errors.Is(err, nodehost.ErrTimeout) &&
			!errors.Is(err, nodehost.ErrNoLeader) && !errors.Is(err, nodehost.ErrNotLeader) && !errors.Is(err, nodehost.ErrTransferring) {
			t.Fatal(err)
		}
		select {
		case err := <-failed:
			if !errors.Is(err, nodehost.ErrStorageFailed) && !errors.Is(err, unix.ENOSPC) {
				t.Error("the event's error is ", err)
			}
		default:
			continue
		}
		break
	}
	c.eventually("a leader with a disk", func() bool { leader, _, ok := c.shard(1, 1).Leader(); return ok && leader != 1 })
	write(t, c.shard(1, 1), "without the first host")
	if _, err := c.shard(0, 1).Propose(patient(t), []byte("no")); !errors.Is(err, nodehost.ErrStorageFailed) {
		t.Error("a proposal on the failed host: ", err)
	}

	if err := c.hosts[0].Close(); err != nil && !errors.Is(err, nodehost.ErrStorageFailed) {
		t.Error(err)
	}
	c.hosts[0] = nil
	release()
	c.start(0)
	c.startShards(0, 1)
	write(t, c.shard(0, 1), "with room again")
	c.eventually("the same state everywhere", func() bool {
		var sizes []any
		for i := range c.hosts {
			size, err := c.shard(i, 1).StaleRead(context.Background(), "size", 0)
			if err != nil {
				return false
			}
			sizes = append(sizes, size)
		}
		return sizes[0] == sizes[1] && sizes[1] == sizes[2]
	})
}
