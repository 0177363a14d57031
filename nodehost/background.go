package nodehost

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
)

// diskInterval is how often free space is looked at: at full speed a host writes less than its default reserve in one.
const diskInterval = time.Second

// watchDisk keeps the engine informed of whether free space is below the reserve (R10), and has it look for a log store that stalls. It is the
// body of the host's one goroutine.
func (h *NodeHost) watchDisk() {
	ticker := time.NewTicker(diskInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if h.config.DiskReserveBytes > 0 {
				h.checkDisk()
			}
			h.engine.WatchStorage()
		case <-h.stopped:
			return
		}
	}
}

// diskState says whether usage is below the reserve. To count as having room again takes a sixteenth more than the reserve, so that a
// disk at the limit does not flap.
func diskState(usage vfs.DiskUsage, reserve int64, wasFull bool) (full bool) {
	limit := uint64(reserve)
	if wasFull {
		limit += limit / 16
	}
	return usage.AvailBytes < limit
}

// leastSpace returns the usage of that disk, of those that the host writes to, which has the least room. The log's directory and that of
// snapshots may be disks of their own, mounted there.
func (h *NodeHost) leastSpace() (least vfs.DiskUsage, err error) {
	if least, err = h.config.FS.GetDiskUsage(h.config.Dir); err != nil {
		return least, err
	}
	directories := []string{h.directory.join(logName), h.directory.join(snapshotsName)}
	if reporter, ok := h.log.(logdb.DirectoryReporter); ok {
		directories = append(directories, reporter.Directories()...)
	}
	for _, directory := range directories {
		usage, err := h.config.FS.GetDiskUsage(directory)
		if err != nil {
			return least, err
		}
		if usage.AvailBytes < least.AvailBytes {
			least = usage
		}
	}
	return least, nil
}

func (h *NodeHost) checkDisk() {
	usage, err := h.leastSpace()
	if err != nil {
		if !h.diskUnknown.Swap(true) {
			h.config.Logger.Warn("free disk space is unknown", "dir", h.config.Dir, "error", err)
		}
		return
	}
	before := h.diskFull.Load()
	full := diskState(usage, h.config.DiskReserveBytes, before)
	if full == before {
		return
	}
	h.diskFull.Store(full)
	h.engine.SetDiskFull(full)
	h.config.Logger.Warn("disk reserve", "dir", h.config.Dir, "full", full, "available", usage.AvailBytes, "reserve", h.config.DiskReserveBytes)
}

// leaderBackstop is how often WaitLeader looks although no event came: events are dropped when their queue is full.
const leaderBackstop = time.Second

// WaitLeader returns once a leader of the shard is known here, with its replica ID, or when ctx ends, with its cause, or when the
// replica stops, with ErrStopped.
func (s *Shard) WaitLeader(ctx context.Context) (leader uint64, err error) {
	for {
		changed := s.leaderChange()
		if leader, _, ok := s.Leader(); ok {
			return leader, nil
		}
		backstop := time.NewTimer(leaderBackstop)
		select {
		case <-changed:
		case <-backstop.C:
		case <-s.stopped:
			err = ErrStopped
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		backstop.Stop()
		if err != nil {
			return 0, err
		}
	}
}
