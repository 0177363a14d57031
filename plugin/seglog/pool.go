package seglog

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fillBytes is how much of a new file is filled at a time.
const fillBytes = 1 << 20

// pool has the files that are not part of the stream yet.
type pool struct {
	mu       sync.Mutex
	prepared *segment // has its name, and that name is durable
	spares   []spare
	next     uint64 // number of the next file
	// hungry is set while there is no prepared segment: the writer then wakes the keeper as it goes on.
	hungry atomic.Bool
	// held is what bytes has counted last.
	held atomic.Int64
}

// spare is a file whose blocks were all written, in a segment that is no more.
type spare struct {
	name string
	size int64
}

func (p *pool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.prepared == nil {
		return nil
	}
	return closeSegment(p.prepared)
}

// bytes returns what the files take, as of a moment ago if a segment is just getting its name: that waits for the disk, and whoever looks
// at a store whose disk stalls must not.
func (p *pool) bytes() (bytes int64) {
	if !p.mu.TryLock() {
		return p.held.Load()
	}
	defer p.mu.Unlock()
	defer func() { p.held.Store(bytes) }()
	if p.prepared != nil {
		bytes += p.prepared.filled
	}
	for _, s := range p.spares {
		bytes += s.size
	}
	return bytes
}

// number takes the next number. p.mu is held.
func (p *pool) number() uint64 {
	p.next++
	return p.next - 1
}

// nextSegment returns the prepared segment. If there is none it makes one here, whose blocks were not written before: slower to
// sync, but never waited for.
func (s *Store) nextSegment() (*segment, error) {
	p := &s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.prepared
	p.prepared = nil
	p.hungry.Store(true)
	if next != nil {
		return next, nil
	}
	return s.nameSegment("", 0)
}

// nameSegment makes a segment of a spare file, of the file of that name, or of none, in this order, and makes its name durable. The
// file's blocks are overwritten only after its old name is gone for good. s.pool.mu is held.
func (s *Store) nameSegment(from string, size int64) (*segment, error) {
	p, d := &s.pool, &s.directory
	if n := len(p.spares); n > 0 && from == "" {
		from, size = p.spares[n-1].name, p.spares[n-1].size
		p.spares = p.spares[:n-1]
	}
	number := p.number()
	next := &segment{number: number, name: segmentName(number), size: size, filled: size}
	if size == 0 {
		next.size = int64(s.options.SegmentBytes)
	}
	var err error
	if from != "" {
		if err = d.rename(from, next.name); err != nil {
			return nil, err
		}
	}
	if next.write, err = d.openWrite(next.name); err != nil {
		return nil, err
	}
	if next.file, err = d.openRead(next.name); err != nil {
		return nil, errors.Join(err, next.write.Close())
	}
	if err = d.sync(); err != nil {
		return nil, errors.Join(err, closeSegment(next))
	}
	return next, nil
}

// filling is a new file that is being filled with zeros.
type filling struct {
	file vfs.File
	name string
	at   int64
	zero []byte
}

// prepareNext does one small piece of work for the next segment and reports whether there is more to do now. Only the keeper calls it.
//
// A file that was a segment is better than a new one, since its blocks are written already: so a new one is begun only when the active
// segment is half full, and then filled four times as fast as that goes on. Once begun it is filled to the end even if a file becomes spare
// meanwhile, or the same would happen with each segment. A full disk is not a failure here, be it told by a write or, where the file system finds
// room for blocks only later, by the sync: there is nothing in the file. The next segment is made without filled blocks, or fails then; until it is
// begun no other file is filled.
func (s *Store) prepareNext() (more bool, err error) {
	p, f := &s.pool, &s.keeper.filling
	p.mu.Lock()
	ready, spares := p.prepared != nil, len(p.spares)
	p.mu.Unlock()
	size := int64(s.options.SegmentBytes)
	switch {
	case ready:
		return false, s.abandonFilling()
	case spares > 0 && (f.file == nil || s.idle()) || f.file != nil && f.at >= size:
		return true, s.nameNext()
	case f.at >= min(size, 4*(s.counters.written.Load()-size/2)), s.keeper.full == s.counters.rotations.Load()+1:
		return false, nil
	}
	if err := s.fill(min(size, f.at+fillBytes)); err != nil {
		if !errors.Is(err, syscall.ENOSPC) {
			return false, err
		}
		s.keeper.full = s.counters.rotations.Load() + 1
		return false, s.abandonFilling()
	}
	return true, nil
}

// nameNext makes a spare file, or the filled one, the prepared segment.
func (s *Store) nameNext() error {
	p, f := &s.pool, &s.keeper.filling
	if f.file != nil {
		if f.at < int64(s.options.SegmentBytes) {
			if err := s.abandonFilling(); err != nil {
				return err
			}
		} else {
			err := errors.Join(f.file.Sync(), f.file.Close())
			f.file = nil
			if errors.Is(err, syscall.ENOSPC) {
				s.directory.remove(f.name)
				*f = filling{zero: f.zero}
				s.keeper.full = s.counters.rotations.Load() + 1
				return nil
			}
			if err != nil {
				return fmt.Errorf("sync and close %s: %w", f.name, err)
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	name, size := f.name, f.at
	*f = filling{zero: f.zero}
	next, err := s.nameSegment(name, size)
	if err != nil {
		return err
	}
	p.prepared = next
	p.hungry.Store(false)
	return nil
}

// fill writes zeros up to an offset of the new file.
func (s *Store) fill(end int64) error {
	f := &s.keeper.filling
	if f.file == nil {
		s.pool.mu.Lock()
		f.name = tempName(s.pool.number())
		s.pool.mu.Unlock()
		file, err := s.directory.openWrite(f.name)
		if err != nil {
			return err
		}
		f.file = file
	}
	if f.zero == nil {
		f.zero = alignedBuffer(fillBytes)[:fillBytes]
	}
	if _, err := f.file.WriteAt(f.zero[:end-f.at], f.at); err != nil {
		return fmt.Errorf("fill %s: %w", f.name, err)
	}
	f.at = end
	return nil
}

// abandonFilling gives the new file up.
func (s *Store) abandonFilling() error {
	f := &s.keeper.filling
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	s.directory.remove(f.name)
	*f = filling{zero: f.zero}
	if err != nil {
		return fmt.Errorf("close a file that is not needed: %w", err)
	}
	return nil
}
