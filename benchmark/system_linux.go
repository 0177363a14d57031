package benchmark

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// syncData makes what was written to the file durable.
func syncData(file *os.File) error { return unix.Fdatasync(int(file.Fd())) }

// inMemory says whether a directory lies on a file system that lives in memory, where a sync costs nothing.
func inMemory(directory string) bool {
	var status unix.Statfs_t
	if unix.Statfs(directory, &status) != nil {
		return false
	}
	return status.Type == unix.TMPFS_MAGIC || status.Type == unix.RAMFS_MAGIC
}

// threadTime is the CPU time that the calling thread has used.
func threadTime() time.Duration {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// flushesOf returns what reads the number of cache flushes that the device under a directory has carried out. It is 0 for what is
// no block device, and before Linux 5.5.
func flushesOf(directory string) func() uint64 {
	var status unix.Stat_t
	if unix.Stat(directory, &status) != nil {
		return func() uint64 { return 0 }
	}
	name := fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(status.Dev), unix.Minor(status.Dev))
	return func() uint64 {
		text, err := os.ReadFile(name)
		if err != nil {
			return 0
		}
		return parseFlushes(text)
	}
}

// parseFlushes reads the 16th figure of a block device's stat file: flush requests completed.
func parseFlushes(text []byte) uint64 {
	fields := bytes.Fields(text)
	if len(fields) < 16 {
		return 0
	}
	flushes, _ := strconv.ParseUint(string(fields[15]), 10, 64)
	return flushes
}
