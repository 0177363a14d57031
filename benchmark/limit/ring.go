package limit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/benchmark"
)

const (
	blockSize = 4 << 10
	// ringFiles files are filled before anything is measured: four of 256 MiB last for the ten seconds of most loads.
	ringFiles = 4
)

// ring is a log whose files were written before, once, and are written over from then on, past the page cache where the system allows it:
// an overwritten block needs no journal commit, an allocated one that was never written does. Each commit begins with a block.
//
// Before a file is written over again, what it holds has to be applied, for the end check. A goroutine does that as soon as a file is
// full; only a load that goes round pays for it while it is measured.
//
// The file that is being written belongs to the log's goroutine; full and emptied ones change hands through the channels.
type ring struct {
	log    *log
	buffer []byte // aligned, as long as the largest commit so far
	at     int64
	now    *ringFile

	free chan *ringFile
	full chan *ringFile
	work sync.WaitGroup

	mu     sync.Mutex
	failed error // of the goroutine
}

// ringFile is a file and where commits lie in it.
type ringFile struct {
	name    string
	file    vfs.File
	size    int64
	commits []span
}

type span struct{ start, length int64 }

// newRing writes the files. The log is used only once the ring is there.
func newRing(l *log) (*ring, error) {
	r := &ring{log: l, free: make(chan *ringFile, ringFiles), full: make(chan *ringFile, ringFiles)}
	for number := range ringFiles {
		if err := r.add(l.segmentName(number)); err != nil {
			return nil, errors.Join(fmt.Errorf("limit: host %d: %w", l.host.number, err), r.closeFiles())
		}
	}
	full, machines := r.full, l.machines()
	r.work.Go(func() { r.empty(full, machines) })
	return r, nil
}

// add writes a file.
func (r *ring) add(name string) error {
	f := &ringFile{name: name, size: int64(r.log.host.cluster.segmentSize)}
	var err error
	if f.file, err = r.log.fs.Create(name, vfs.WriteCategoryUnspecified); err != nil {
		return err
	}
	r.free <- f
	setDirect(f.file)
	zeroes := aligned(1 << 20)
	for at := int64(0); at < f.size; at += int64(len(zeroes)) {
		if _, err := f.file.WriteAt(zeroes[:min(int64(len(zeroes)), f.size-at)], at); err != nil {
			return err
		}
	}
	return f.file.Sync()
}

// aligned returns memory that begins at a block's boundary, as writes past the page cache demand.
func aligned(size int) []byte {
	memory := make([]byte, size+blockSize)
	skip := (blockSize - int(uintptr(unsafe.Pointer(&memory[0]))%blockSize)) % blockSize
	return memory[skip : skip+size : skip+size]
}

// commit writes frames behind the last commit, and makes them durable.
func (r *ring) commit(frames []byte) error {
	padded := (len(frames) + blockSize - 1) / blockSize * blockSize
	if r.now == nil || r.at+int64(padded) > r.now.size {
		if err := r.next(int64(padded)); err != nil {
			return err
		}
	}
	if len(r.buffer) < padded {
		r.buffer = aligned(2 * padded)
	}
	clear(r.buffer[copy(r.buffer, frames):padded])
	if _, err := r.now.file.WriteAt(r.buffer[:padded], r.at); err != nil {
		return fmt.Errorf("limit: host %d: %w", r.log.host.number, err)
	}
	if err := r.now.file.SyncData(); err != nil {
		return fmt.Errorf("limit: host %d: %w", r.log.host.number, err)
	}
	r.now.commits = append(r.now.commits, span{r.at, int64(len(frames))})
	r.at += int64(padded)
	return nil
}

// next goes on with a file that was emptied, and waits for one if the goroutine is behind.
func (r *ring) next(least int64) error {
	if r.now != nil {
		r.full <- r.now
	}
	r.now, r.at = <-r.free, 0
	if r.now.size < least {
		return fmt.Errorf("limit: host %d: a commit of %d bytes is larger than a file of %d", r.log.host.number, least, r.now.size)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// empty applies what full files hold, in their order, and gives them back.
func (r *ring) empty(full <-chan *ringFile, machines []*benchmark.Machine) {
	var buffer []byte
	for f := range full {
		var err error
		if buffer, err = r.apply(f, buffer, machines); err != nil {
			r.mu.Lock()
			r.failed = fmt.Errorf("limit: %s: %w", f.name, err)
			r.mu.Unlock()
		}
		f.commits = f.commits[:0]
		r.free <- f
	}
}

// apply reads through the page cache: what was written past it has left it.
func (r *ring) apply(f *ringFile, buffer []byte, machines []*benchmark.Machine) ([]byte, error) {
	file, err := r.log.fs.Open(f.name)
	if err != nil {
		return buffer, err
	}
	defer file.Close()
	for _, commit := range f.commits {
		if int64(len(buffer)) < commit.length {
			buffer = make([]byte, 2*commit.length)
		}
		rest := buffer[:commit.length]
		if _, err := file.ReadAt(rest, commit.start); err != nil {
			return buffer, err
		}
		for len(rest) > 0 {
			if rest, err = r.applyFrame(rest, machines); err != nil {
				return buffer, err
			}
		}
	}
	return buffer, nil
}

func (r *ring) applyFrame(bytes []byte, machines []*benchmark.Machine) (rest []byte, err error) {
	if len(bytes) < headerSize {
		return nil, io.ErrUnexpectedEOF
	}
	h, err := parseHeader(bytes)
	if err != nil {
		return nil, err
	}
	size := headerSize + int(h.length)
	if size > len(bytes) {
		return nil, io.ErrUnexpectedEOF
	}
	if err := h.check(bytes[:size], len(r.log.host.cluster.hosts), len(machines)); err != nil {
		return nil, err
	}
	return bytes[size:], apply(machines[h.shard], h, bytes[headerSize:size])
}

// settle applies the rest. Nothing is written any more, and nothing will be.
func (r *ring) settle(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.now != nil {
		r.full <- r.now
		r.now = nil
	}
	r.stop()
	return r.failed
}

// stop ends the goroutine. It may be called again.
func (r *ring) stop() {
	r.mu.Lock()
	full := r.full
	r.full = nil
	r.mu.Unlock()
	if full != nil {
		close(full)
	}
	r.work.Wait()
}

// close ends all, when the log's goroutine has ended.
func (r *ring) close() error {
	r.stop()
	if r.now != nil {
		r.free <- r.now
	}
	if err := r.closeFiles(); err != nil {
		return fmt.Errorf("limit: host %d: %w", r.log.host.number, err)
	}
	return nil
}

func (r *ring) closeFiles() error {
	close(r.free)
	var faults []error
	for f := range r.free {
		faults = append(faults, f.file.Close())
	}
	return errors.Join(faults...)
}
