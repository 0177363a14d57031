package simulation

import (
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// sector is what a disk writes at once.
const sector = 512

// files are the files of one life of a disk: what is written and not synced may be lost at a power cut, and operations fail, or do
// something else than they say, when the world wants it. Pebble's goroutines call it, so everything is under one mutex.
type files struct {
	vfs.FS // of memory
	memory *vfs.MemFS

	mu     sync.Mutex
	random *rand.Rand
	dirty  map[string]bool // files, and directories, that were changed since they were synced

	// left counts down the operations to the power cut, 0 for none; image is what the cut left.
	left  int
	image *vfs.MemFS
	what  cutting

	ignoreSyncs bool
	directories []string // where they are: of a log store with several lanes each is on a device of its own
	// repeatable: what a power cut leaves is drawn in the order of the names, so that the same seed leaves the same.
	repeatable bool
	block      int   // what such a cut keeps or loses of a file as one
	syncError  error // of the next sync of a file of syncClass
	syncClass  fileClass
	room       int64 // bytes until the disk is full, below 0 for no limit

	failure error // of the change that is counted down to
	changes int   // to it, 0 for none

	losing  losing // what the next write that fits becomes
	wanted  fileClass
	hit     [fileManifest + 1]bool // by class of file: of that, something there
	overlog bool                   // a write has gone astray over a log file
	damaged bool                   // something that was written is not what was to be written
	counts  fileCounts
}

// cutting says what was done to the files by a power cut.
type cutting struct {
	torn      bool // a write was cut short, or only some of its sectors were written
	unsynced  bool // there was something not synced, and it was kept in part or not at all
	lostNames int  // files that are gone, since their directory was not synced
	apart     bool // of one device much less is left than of another
}

// fileCounts says which faults really happened.
type fileCounts struct {
	failedSyncs, full, lost, misdirected, failed uint64
}

// losing says what becomes of a write.
type losing uint8

const (
	loseNothing   losing = iota
	loseWrite            // it is reported written, and the disk has what it had
	misplaceWrite        // it is reported written, and is in another place
)

func newFiles(memory *vfs.MemFS, r random) *files {
	return &files{FS: memory, memory: memory, random: rand.New(rand.NewPCG(r.next(), r.next())), dirty: map[string]bool{}, room: -1, directories: []string{logDirectory}, block: mixBlock, syncClass: fileLog}
}

// failNextSync makes one sync of a log file, or of whatever file these are all for, fail. What was not synced by then never will be, whatever later syncs say.
func (f *files) failNextSync(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncError = err
}

// fill makes the disk full after so many bytes.
func (f *files) fill(room int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room = room
}

// loseNext makes the next write to a file of a class get lost or go astray.
func (f *files) loseNext(l losing, class fileClass) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.losing, f.wanted = l, class
}

// failAfter lets the n-th change from now on fail, a write, a sync or one of names.
func (f *files) failAfter(n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes, f.failure = n, err
}

// failing counts down to the change that fails. f.mu is held.
func (f *files) failing() error {
	if f.changes == 0 {
		return nil
	}
	if f.changes--; f.changes > 0 {
		return nil
	}
	f.counts.failed++
	return f.failure
}

// isDamaged reports whether something was lost or went astray.
func (f *files) isDamaged() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.damaged
}

// isHit reports whether that concerns files of a class.
func (f *files) isHit(class fileClass) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit[class]
}

// cutAfter lets the power go at the n-th operation from now on.
func (f *files) cutAfter(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = n
}

// cut returns what a power cut leaves: one that was struck before, or one that strikes now.
func (f *files) cut() (*vfs.MemFS, cutting) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.image == nil {
		f.strike("")
	}
	return f.image, f.what
}

// strike keeps what a power cut leaves: all that was synced, and of the rest each block and each name with a drawn probability, of each
// device another one, in whatever order they were written. torn is the file that was being written to, if one was. f.mu is held.
func (f *files) strike(torn string) {
	kept := make([]int, len(f.directories))
	f.what = cutting{}
	for i, directory := range f.directories {
		here := torn != "" && f.PathDir(torn) == directory
		kept[i] = []int{0, 0, 20, 50, 80, 100}[f.random.IntN(6)]
		if here && f.random.IntN(2) == 0 {
			kept[i] = 100 // so that what is left of the write is there
		}
		f.what.torn = f.what.torn || here && kept[i] > 0
		f.what.unsynced = f.what.unsynced || kept[i] < 100 && len(f.dirty) > 0
	}
	if f.repeatable {
		f.image = f.mix(kept)
	} else {
		f.image = f.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept[0], RNG: f.random})
	}
	f.what.apart = slices.Min(kept) < 50 && slices.Max(kept) >= 50 && len(f.dirty) > 0
	for _, directory := range f.directories {
		before, _ := f.memory.List(directory)
		after, _ := f.image.List(directory)
		for _, name := range before {
			if !slices.Contains(after, name) {
				f.what.lostNames++
			}
		}
	}
}

// operation counts one operation and strikes if it is the one. f.mu is held.
func (f *files) operation() (strike bool) {
	if f.left == 0 {
		return false
	}
	f.left--
	return f.left == 0
}

// change does an operation on names. The power may go before or after it.
func (f *files) change(name string, do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	strike := f.operation()
	if strike && f.random.IntN(2) == 0 {
		f.strike("")
		strike = false
	}
	err := f.failing()
	if err == nil {
		err = do()
	}
	f.dirty[f.PathDir(name)] = true
	if strike {
		f.strike("")
	}
	return err
}

func (f *files) open(name string, open func() (vfs.File, error)) (file vfs.File, err error) {
	err = f.change(name, func() error {
		if f.room == 0 {
			return syscall.ENOSPC
		}
		inner, err := open()
		if err != nil {
			return err
		}
		file = &faultyFile{File: inner, files: f, name: name}
		return nil
	})
	return file, err
}

// Create implements vfs.FS.
func (f *files) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(name, func() (vfs.File, error) { return f.FS.Create(name, category) })
}

// ReuseForWrite implements vfs.FS.
func (f *files) ReuseForWrite(oldName, newName string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(newName, func() (vfs.File, error) { return f.FS.ReuseForWrite(oldName, newName, category) })
}

// OpenReadWrite implements vfs.FS.
func (f *files) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	return f.open(name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, category, options...) })
}

// OpenDir implements vfs.FS.
func (f *files) OpenDir(name string) (vfs.File, error) {
	inner, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: inner, files: f, name: name}, nil
}

// Rename implements vfs.FS.
func (f *files) Rename(oldName, newName string) error {
	return f.change(newName, func() error { return f.FS.Rename(oldName, newName) })
}

// Link implements vfs.FS.
func (f *files) Link(oldName, newName string) error {
	return f.change(newName, func() error { return f.FS.Link(oldName, newName) })
}

// Remove implements vfs.FS.
func (f *files) Remove(name string) error {
	return f.change(name, func() error { return f.FS.Remove(name) })
}

// Unwrap implements vfs.FS.
func (f *files) Unwrap() vfs.FS { return f.FS }

// copy returns a copy of what is synced.
func (f *files) copy() *vfs.MemFS { return f.memory.CrashClone(vfs.CrashCloneCfg{}) }
