package limit

import (
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// setDirect makes writes to a file pass the page cache, where the file system accepts that.
func setDirect(file vfs.File) {
	if file.Fd() == vfs.InvalidFd {
		return
	}
	if flags, err := unix.FcntlInt(file.Fd(), unix.F_GETFL, 0); err == nil {
		_, _ = unix.FcntlInt(file.Fd(), unix.F_SETFL, flags|unix.O_DIRECT) // refused: the cache is used
	}
}
