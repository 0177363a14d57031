package limit

import (
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// allocate gives a new file its space and its size at once, so that a commit changes neither. Preallocate of the file system seam
// leaves the size, and each commit would have to write that.
func allocate(file vfs.File, size int64) error {
	if file.Fd() == vfs.InvalidFd {
		return file.Preallocate(0, size)
	}
	return unix.Fallocate(int(file.Fd()), 0, 0, size)
}
