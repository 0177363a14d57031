package simulation

import (
	"errors"
	"io"
	"path"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fileClass says what a file of a log store is for.
type fileClass uint8

const (
	fileOther fileClass = iota
	fileLog
	fileTable
	fileManifest
)

func classOf(name string) fileClass {
	base := path.Base(name)
	switch {
	case strings.HasSuffix(base, ".log"), strings.HasSuffix(base, ".seg"):
		return fileLog
	case strings.HasSuffix(base, ".sst"):
		return fileTable
	case strings.HasPrefix(base, "MANIFEST-"):
		return fileManifest
	}
	return fileOther
}

// faultyFile is a file that was opened for writing, or a directory. Pebble only ever appends; the segmented log
// writes blocks at offsets.
type faultyFile struct {
	vfs.File
	files  *files
	name   string
	offset int64
	placed bool // writes go to offset, not to the end of what was written before
	// broken: a sync has failed; the system has dropped what it could not write and will not say so again.
	broken bool
}

// Write implements vfs.File.
func (f *faultyFile) Write(data []byte) (int, error) {
	f.files.mu.Lock()
	defer f.files.mu.Unlock()
	return f.write(data)
}

// WriteAt implements vfs.File.
func (f *faultyFile) WriteAt(data []byte, offset int64) (int, error) {
	f.files.mu.Lock()
	defer f.files.mu.Unlock()
	f.offset, f.placed = offset, true
	return f.write(data)
}

// put writes to the file itself.
func (f *faultyFile) put(data []byte) (int, error) {
	if f.placed {
		return f.File.WriteAt(data, f.offset)
	}
	return f.File.Write(data)
}

// growth returns how much of the disk a write takes: blocks that were written before it has already.
func (f *faultyFile) growth(data []byte) int64 {
	if info, err := f.Stat(); f.placed && err == nil {
		return min(int64(len(data)), max(0, f.offset+int64(len(data))-info.Size()))
	}
	return int64(len(data))
}

func (f *faultyFile) write(data []byte) (int, error) {
	all := f.files
	all.dirty[f.name] = true
	growth := f.growth(data)
	if err := all.failing(); err != nil {
		n, _ := f.advance(f.put(data[:len(data)/2]))
		return n, err
	}
	switch {
	case all.operation():
		return f.writeTorn(data)
	case all.room >= 0 && growth > all.room:
		return f.writeFull(data[:int64(len(data))-growth+all.room])
	case all.losing != loseNothing && classOf(f.name) == all.wanted:
		return f.writeLost(data)
	}
	if all.room > 0 {
		all.room -= growth
	}
	return f.advance(f.put(data))
}

func (f *faultyFile) advance(n int, err error) (int, error) {
	f.offset += int64(n)
	return n, err
}

// writeTorn writes with a power cut in the midst: there is a beginning, or some of the sectors.
func (f *faultyFile) writeTorn(data []byte) (int, error) {
	all := f.files
	torn := f.before(len(data))
	first := sector - int(f.offset%sector)
	prefix := all.random.IntN(2) == 0
	end := all.random.IntN(len(data) + 1)
	for from, to := 0, min(first, len(data)); from < len(data); from, to = to, min(to+sector, len(data)) {
		if prefix && to <= end || !prefix && all.random.IntN(2) == 0 {
			copy(torn[from:to], data[from:to])
		}
	}
	n, err := f.put(torn)
	all.strike(f.name)
	if err == nil {
		_, err = f.File.WriteAt(data, f.offset)
	}
	return f.advance(n, err)
}

// writeFull writes a part for which there is room. The disk is full from now on.
func (f *faultyFile) writeFull(data []byte) (int, error) {
	all := f.files
	n, err := f.put(data)
	all.room = 0
	all.counts.full++
	if err == nil {
		err = syscall.ENOSPC
	}
	return f.advance(n, err)
}

// writeLost leaves what is there, and may write the data to the wrong place.
func (f *faultyFile) writeLost(data []byte) (int, error) {
	all := f.files
	if all.losing == misplaceWrite {
		if !f.misplace(data) {
			return f.advance(f.put(data))
		}
		all.counts.misdirected++
	} else {
		all.counts.lost++
	}
	all.losing, all.damaged = loseNothing, true
	all.hit[classOf(f.name)] = true
	return f.advance(f.put(f.before(len(data))))
}

// misplace writes the data over another file, at the beginning of a sector.
func (f *faultyFile) misplace(data []byte) bool {
	all := f.files
	victim := pickFile(all.memory, all.random.IntN, f.name)
	if victim == "" {
		return false
	}
	other, err := all.memory.OpenReadWrite(victim, vfs.WriteCategoryUnspecified)
	if err != nil {
		return false
	}
	defer func() { _ = other.Close() }()
	info, err := other.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	at := int64(all.random.IntN(int(info.Size()))) / sector * sector
	length := min(int64(len(data)), info.Size()-at)
	all.hit[classOf(victim)] = true
	all.overlog = classOf(victim) == fileLog
	_, err = other.WriteAt(data[:length], at)
	return errors.Join(err, other.Sync()) == nil
}

// before returns what stands where the next n bytes go; zeros behind the end of the file.
func (f *faultyFile) before(n int) []byte {
	old := make([]byte, n)
	if reader, err := f.files.memory.Open(f.name); err == nil {
		_, _ = io.NewSectionReader(reader, f.offset, int64(n)).ReadAt(old, 0)
		_ = reader.Close()
	}
	return old
}

// Sync implements vfs.File. The power may go before or after it.
func (f *faultyFile) Sync() error {
	all := f.files
	all.mu.Lock()
	defer all.mu.Unlock()
	strike := all.operation()
	if strike && all.random.IntN(2) == 0 {
		all.strike("")
		strike = false
	}
	if all.syncError != nil && classOf(f.name) == all.syncClass {
		err := all.syncError
		all.syncError, f.broken = nil, true
		all.counts.failedSyncs++
		return err
	}
	if err := all.failing(); err != nil {
		if info, wrong := f.Stat(); wrong == nil && !info.IsDir() { // a directory is synced again
			f.broken = true
		}
		return err
	}
	var err error
	if !f.broken && !all.ignoreSyncs {
		if err = f.File.Sync(); err == nil {
			delete(all.dirty, f.name)
		}
	}
	if strike {
		all.strike("")
	}
	return err
}

// SyncData implements vfs.File.
func (f *faultyFile) SyncData() error { return f.Sync() }
