package benchmark

import (
	"os"

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
