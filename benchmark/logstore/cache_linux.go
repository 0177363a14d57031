package logstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropFromCache syncs a file, drops it from the page cache and returns how many bytes of blocks it takes.
func dropFromCache(path string) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if err := file.Sync(); err != nil {
		return 0, err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return 0, err
	}
	return stat.Blocks * 512, unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED)
}
