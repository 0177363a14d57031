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
	// hungry is set while there is no prepared segment. haste is set by the writer while the next one is to be there soon: it then wakes the keeper as
	// it goes on.
	hungry, haste atomic.Bool
	// filled is how far the new file is filled.
	filled atomic.Int64
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
// A file that was a segment is better than a new one, since its blocks are written already: so a new one is begun only when it has to be
// (fillTarget). Once begun it is filled to the end even if a file becomes spare
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
	case f.at >= s.fillTarget(), s.keeper.full == s.counters.rotations.Load()+1:
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

const (
	// bareBytes is how much is written to a segment that grows before the next file is filled in haste.
	bareBytes = 1 << 20
	// smallGroup is the mean size of groups up to which that is worth it.
	smallGroup = 16 << 10
)

// fillTarget is how far a new file is to be filled by now, if there is no better one: four times as fast as the active segment goes on, from its
// middle on; in haste sixteen times as fast, and at once.
func (s *Store) fillTarget() int64 {
	size, written := int64(s.options.SegmentBytes), s.counters.written.Load()
	target := 4 * (written - size/2)
	if s.pool.haste.Load() {
		target = max(target, 16*(written-bareBytes))
	}
	return min(size, target)
}

// hurries reports whether the keeper is to look now rather than in a while: a segment was filled, so the next is to be prepared and an old one
// may be empty, or a new file is not filled as far as it should be. Segments may be full many times in an IdleDelay.
//
// In a segment that grows as it is written, as the first of a store does, each sync waits for the file system's journal, too: a lone command takes half
// as long again. So there the next file is filled in haste. With large groups that is little beside the bytes, of which filling is as many again; there
// the next file comes when it comes. The caller owns the writer.
func (s *Store) hurries() bool {
	w := &s.writer
	written := s.counters.written.Load()
	haste := w.active.filled == 0 && written > bareBytes && uint64(written) <= smallGroup*(w.active.next-w.active.first)
	if haste != s.pool.haste.Load() {
		s.pool.haste.Store(haste)
	}
	if w.tended != w.active.number {
		w.tended = w.active.number
		return true
	}
	return s.pool.hungry.Load() && s.pool.filled.Load() < s.fillTarget()
}

// leavesBare reports whether the writer goes on with the prepared segment though the active one has room: because the active one grows as it is
// written, and most of it is still to come. The caller owns the writer.
func (s *Store) leavesBare() bool {
	active := s.writer.active
	return active.filled == 0 && !s.pool.hungry.Load() && s.writer.position > bareBytes && s.writer.position < active.size/2
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
				p.filled.Store(0)
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
	p.filled.Store(0)
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
	s.pool.filled.Store(end)
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
	s.pool.filled.Store(0)
	if err != nil {
		return fmt.Errorf("close a file that is not needed: %w", err)
	}
	return nil
}
