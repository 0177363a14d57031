package limit

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// defaultSegmentSize is what is allocated for a file of the log at once, in bytes.
const defaultSegmentSize = 256 << 20

// log is the durable part of a host: frames of all shards in the order of arrival, in files of a fixed size. One goroutine runs
// it, so one group commit is under way and the next gathers meanwhile.
type log struct {
	host      *host
	fs        vfs.FS
	directory string

	mu      sync.Mutex
	wake    sync.Cond
	closed  bool
	pending []byte   // frames that wait for the next group commit
	headers []header // theirs

	// Owned by the goroutine.
	file     vfs.File
	segments int
	room     int // bytes left in the file

	ring *ring // in place of the three, if files are written over

	durable atomic.Uint64 // batches
}

func newLog(h *host, fs vfs.FS, directory string) (*log, error) {
	l := &log{host: h, fs: fs, directory: directory}
	l.wake.L = &l.mu
	if err := fs.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	if h.cluster.overwrite {
		var err error
		l.ring, err = newRing(l)
		return l, err
	}
	return l, l.nextSegment(h.cluster.segmentSize)
}

// append adds a frame to the next group commit.
func (l *log) append(frame []byte, h header) {
	l.mu.Lock()
	l.pending = append(l.pending, frame...)
	l.headers = append(l.headers, h)
	first := len(l.headers) == 1
	l.mu.Unlock()
	if first {
		l.wake.Signal()
	}
}

func (l *log) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake.Signal()
}

// run makes group commits until the log is closed or a write fails, which ends the whole cluster.
func (l *log) run() {
	var frames []byte
	var headers []header
	for {
		l.mu.Lock()
		for len(l.headers) == 0 && !l.closed {
			l.wake.Wait()
		}
		if l.closed {
			l.mu.Unlock()
			return
		}
		frames, l.pending = l.pending, frames[:0]
		headers, l.headers = l.headers, headers[:0]
		l.mu.Unlock()
		if err := l.commit(frames); err != nil {
			l.host.cluster.fail(err)
			return
		}
		l.durable.Add(uint64(len(headers)))
		l.host.acknowledge(headers)
	}
}

// commit writes frames and makes them durable. A group that does not fit the file goes into the next one whole.
func (l *log) commit(frames []byte) error {
	if l.ring != nil {
		return l.ring.commit(frames)
	}
	if len(frames) > l.room {
		if err := l.nextSegment(max(l.host.cluster.segmentSize, len(frames))); err != nil {
			return err
		}
	}
	if _, err := l.file.Write(frames); err != nil {
		return fmt.Errorf("limit: host %d: %w", l.host.number, err)
	}
	l.room -= len(frames)
	if err := l.file.SyncData(); err != nil {
		return fmt.Errorf("limit: host %d: %w", l.host.number, err)
	}
	return nil
}

// nextSegment begins a file. What the one before it holds is durable.
func (l *log) nextSegment(size int) error {
	if err := l.closeFile(); err != nil {
		return err
	}
	file, err := l.fs.Create(l.segmentName(l.segments), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("limit: host %d: %w", l.host.number, err)
	}
	l.file, l.room = file, size
	l.segments++
	if err := allocate(file, int64(size)); err != nil {
		return fmt.Errorf("limit: host %d: allocate %d bytes: %w", l.host.number, size, err)
	}
	directory, err := l.fs.OpenDir(l.directory)
	if err != nil {
		return fmt.Errorf("limit: host %d: %w", l.host.number, err)
	}
	defer directory.Close()
	if err := directory.Sync(); err != nil {
		return fmt.Errorf("limit: host %d: %w", l.host.number, err)
	}
	return nil
}

func (l *log) closeFile() error {
	if l.ring != nil {
		return l.ring.close()
	}
	if l.file == nil {
		return nil
	}
	file := l.file
	l.file = nil
	if err := file.Close(); err != nil {
		return fmt.Errorf("limit: host %d: %w", l.host.number, err)
	}
	return nil
}

func (l *log) segmentName(number int) string {
	return l.fs.PathJoin(l.directory, fmt.Sprintf("%06d.log", number))
}
