package seglog

import (
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// setDirect makes writes to a file bypass the page cache, and reports whether the system accepts that. The flag is set on the open
// descriptor, so that any vfs.FS that wraps the operating system's can stand in between.
func setDirect(file vfs.File) bool {
	fd := file.Fd()
	if fd == vfs.InvalidFd {
		return false
	}
	flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
	if err != nil {
		return false
	}
	_, err = unix.FcntlInt(fd, unix.F_SETFL, flags|unix.O_DIRECT)
	return err == nil
}
