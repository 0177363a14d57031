package seglog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Names in the directory. A segment's name is its number, so that a listing shows the stream in order.
const (
	lockName      = "LOCK"
	formatName    = "FORMAT"
	probeName     = "probe.tmp"
	segmentSuffix = ".seg"
	spareSuffix   = ".spare"
	tempSuffix    = ".tmp"
)

func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, segmentSuffix) }
func spareName(number uint64) string   { return fmt.Sprintf("%016x%s", number, spareSuffix) }
func tempName(number uint64) string    { return fmt.Sprintf("%016x%s", number, tempSuffix) }

// parseName returns the number and the suffix of a file's name.
func parseName(name string) (number uint64, suffix string, ok bool) {
	base, suffix, found := strings.Cut(name, ".")
	if !found || len(base) != 16 {
		return 0, "", false
	}
	number, err := strconv.ParseUint(base, 16, 64)
	return number, "." + suffix, err == nil
}

// segment is a file of the stream.
type segment struct {
	number uint64
	name   string
	// file is for reading; write is open while the segment is prepared or active.
	file, write vfs.File
	size        int64 // of the file; for the active segment, what it may reach before the next is begun
	filled      int64 // how much of the file was written before it became active
	first, next uint64
	// live is what counts as live in it, in bytes. Written under index.mu.
	live int64
	// pins are the readers that have taken a place in it and not yet read: they take pins under index.mu, and a segment whose
	// pins are 0 after it left the index has no more readers.
	pins atomic.Int32
}

// alignedBuffer returns an empty buffer whose memory begins at a multiple of the block size, as writes around the page cache demand.
func alignedBuffer(size int) []byte {
	size = int(alignUp(int64(size)))
	raw := make([]byte, size+blockSize)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(raw))) & (blockSize - 1))
	return raw[skip : skip : skip+size]
}

// directory does what is done to the files of a store, besides writing groups.
type directory struct {
	fs     vfs.FS
	path   string
	direct bool
}

func (d *directory) join(name string) string { return d.fs.PathJoin(d.path, name) }

// make makes the directory and those above it that are missing, and makes their names durable.
func (d *directory) make() error {
	var parents []string
	for path := d.path; ; {
		if _, err := d.fs.Stat(path); err == nil {
			break
		}
		parent := d.fs.PathDir(path)
		if parents = append(parents, parent); parent == path || parent == "." {
			break
		}
		path = parent
	}
	if err := d.fs.MkdirAll(d.path, 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	for _, parent := range parents {
		if err := (&directory{fs: d.fs, path: parent}).sync(); err != nil {
			return err
		}
	}
	return nil
}

// sync makes the names in the directory durable.
func (d *directory) sync() error {
	dir, err := d.fs.OpenDir(d.path)
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", d.path, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", d.path, err)
	}
	return nil
}

// openWrite opens a file for writing whole blocks, and makes it if it is not there.
func (d *directory) openWrite(name string) (vfs.File, error) {
	file, err := d.fs.OpenReadWrite(d.join(name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", d.join(name), err)
	}
	if d.direct {
		_ = setDirect(file) // the probe says that it works; without it the write is only slower
	}
	return file, nil
}

// openRead opens a segment for reading batches here and there.
func (d *directory) openRead(name string) (vfs.File, error) {
	file, err := d.fs.Open(d.join(name), vfs.RandomReadsOption)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", d.join(name), err)
	}
	return file, nil
}

func (d *directory) rename(from, to string) error {
	if err := d.fs.Rename(d.join(from), d.join(to)); err != nil {
		return fmt.Errorf("rename %s to %s: %w", d.join(from), to, err)
	}
	return nil
}

// remove removes a file. That it cannot be is a waste of space, nothing more.
func (d *directory) remove(name string) bool { return d.fs.Remove(d.join(name)) == nil }

func (d *directory) fileSize(name string) (int64, error) {
	info, err := d.fs.Stat(d.join(name))
	if err != nil {
		return 0, fmt.Errorf("stat %s: %w", d.join(name), err)
	}
	return info.Size(), nil
}

// readAll reads a file whole. A block that cannot be read, also when asked again, is left empty: it is damage like any other.
func (d *directory) readAll(file vfs.File, size int64) []byte {
	data := make([]byte, size)
	const step = 1 << 20
	for at := int64(0); at < size; at += step {
		end := min(size, at+step)
		if n, _ := file.ReadAt(data[at:end], at); n == int(end-at) {
			continue
		}
		for block := at; block < end; block += blockSize {
			to := min(end, block+blockSize)
			for range 2 {
				if n, _ := file.ReadAt(data[block:to], block); n == int(to-block) {
					break
				}
				clear(data[block:to])
			}
		}
	}
	return data
}

// probe finds out whether the file system lets blocks be written around the page cache.
func (d *directory) probe() (bool, error) {
	file, err := d.fs.OpenReadWrite(d.join(probeName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return false, fmt.Errorf("open %s: %w", d.join(probeName), err)
	}
	direct := false
	if setDirect(file) {
		_, err := file.WriteAt(alignedBuffer(blockSize)[:blockSize], 0)
		direct = err == nil
	}
	err = file.Close()
	d.remove(probeName)
	if err != nil {
		return false, fmt.Errorf("close %s: %w", d.join(probeName), err)
	}
	return direct, nil
}

// closeSegment closes the files of a segment.
func closeSegment(s *segment) error {
	var err error
	if s.write != nil {
		err = s.write.Close()
		s.write = nil
	}
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
		s.file = nil
	}
	return err
}
