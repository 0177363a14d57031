package seglog

import (
	"fmt"

	"github.com/flotilla-raft/flotilla/logdb"
)

// writer is the one place that appends to the stream. Whoever has set Store.stepping owns it.
type writer struct {
	active   *segment
	footer   *footer
	position int64  // in the active segment, of the next group
	seq      uint64 // of the last group that was begun
	durable  uint64 // the last group known durable
	witness  uint64 // groups up to this one are said to be durable in one that was written later
	lastData uint64 // the last group with records
	floor    uint64
	tended   uint64 // the segment for which the keeper was woken when it was begun
	header   []byte // one block, aligned
	// operations are those of the group that is being written, owners their replicas, nil for a void one.
	operations []operation
	owners     []*replica
	warmed     uint64 // see warm
}

// step writes the oldest group that waits, and completes its Commits. The caller owns the writer, and has seen the completer at rest.
func (s *Store) step() {
	c := s.takeOldest()
	if c == nil {
		return
	}
	err := s.append(c)
	hurries := err == nil && s.hurries()
	s.complete(c, err)
	if hurries {
		s.wakeKeeper()
	}
}

// stepAhead is step, but for the completion, which it leaves to the completer. The caller owns the writer and is its goroutine.
func (s *Store) stepAhead() {
	c := s.takeOldest()
	if c == nil {
		return
	}
	err := s.append(c)
	hurries := err == nil && s.hurries()
	s.mu.Lock()
	s.completing++
	s.mu.Unlock()
	s.background.written <- written{c, err}
	if hurries {
		s.wakeKeeper()
	}
}

// takeOldest takes the oldest group from the queue; nil if there is none.
func (s *Store) takeOldest() *groupCommit {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	c := s.queue[0]
	n := copy(s.queue, s.queue[1:])
	s.queue[n] = nil
	s.queue = s.queue[:n]
	return c
}

// written is a group with the outcome of its write.
type written struct {
	commit *groupCommit
	err    error
}

// completed is what the completer does with each group, in the order in which they were written.
func (s *Store) completed(w written) {
	s.complete(w.commit, w.err)
	s.mu.Lock()
	s.completing--
	if s.completing > 0 {
		s.mu.Unlock()
		return
	}
	s.settled.Broadcast()
	// What came meanwhile and need not be written could not be completed before these.
	if s.stepping || !s.resting() {
		s.mu.Unlock()
		return
	}
	s.stepping = true
	s.mu.Unlock()
	s.release()
}

// complete completes the Commits of a group, and keeps its memory.
func (s *Store) complete(c *groupCommit, err error) {
	for i := range c.waiters {
		w := &c.waiters[i]
		if w.done == nil {
			continue
		}
		if w.err == nil {
			w.err = err
		}
		s.metrics.queue.Add(-1)
		w.done(w.err)
	}
	c.reset()
	s.mu.Lock()
	if len(s.spare) < 4 {
		s.spare = append(s.spare, c)
	}
	wake := s.dirty()
	s.mu.Unlock()
	if wake {
		s.wakeKeeper()
	}
}

// append writes a group unless a write has failed before, and latches its failure while the caller still owns the writer.
func (s *Store) append(c *groupCommit) error {
	if err := s.latch.get(); err != nil {
		return err
	}
	if err := s.write(c); err != nil {
		s.mu.Lock()
		s.settle() // once the failure is known nothing completes without an error
		s.mu.Unlock()
		s.fail(err)
		return s.latch.get()
	}
	return nil
}

// write appends one group to the stream: the write, the sync, and then the index. The first error is for ever: what the disk has of
// this group and of what was not synced before it is not known any more, and nothing is written again.
func (s *Store) write(c *groupCommit) error {
	w := &s.writer
	length := alignUp(int64(len(c.data)))
	if !s.fits(length, c.records) || s.leavesBare() {
		full, end := w.active, w.position
		if err := s.rotate(); err != nil {
			return err
		}
		s.waste(c, full.size-end)
	}
	w.seq++
	if err := s.prepare(c); err != nil {
		return err
	}
	header := groupHeader{
		segment: w.active.number, offset: w.position, length: uint32(len(c.data)), records: uint32(c.records),
		seq: w.seq, durable: w.durable, floor: w.floor,
	}
	header.encode(c.data)
	watch := s.stopwatch()
	if _, err := w.active.write.WriteAt(c.padded(), w.position); err != nil {
		return fmt.Errorf("write %d bytes at %d of %s: %w", length, w.position, w.active.name, err)
	}
	watch.Stop(&s.metrics.write)
	s.metrics.groupBytes.Record(uint64(length))
	s.metrics.gathered.Record(uint64(len(c.waiters)))
	s.counters.groups.Add(1)
	s.counters.bytes.Add(uint64(length))
	if c.sync {
		if err := s.syncActive(); err != nil {
			return err
		}
	}
	w.position += length
	w.active.next = w.seq + 1
	s.counters.written.Add(length)
	s.index.mu.Lock()
	born := s.index.born
	for i := range w.operations {
		w.warm(i)
		s.index.apply(&w.operations[i], uint32(w.active.number))
	}
	born = s.index.born - born
	s.index.mu.Unlock()
	s.waste(c, length-born)
	for i := range w.operations {
		w.footer.add(&w.operations[i])
	}
	w.witness = header.durable
	if c.records > 0 {
		w.lastData = w.seq
	}
	return nil
}

// waste counts bytes that a group has taken of the files and that hold nothing live. That gives the keeper leave to move what is
// live between them. The keeper's own groups give none, or it might move the same bytes for ever.
func (s *Store) waste(c *groupCommit, bytes int64) {
	if len(c.waiters) == 0 {
		return
	}
	s.counters.taken.Add(max(0, bytes))
	s.index.mu.Lock()
	s.index.wasted += max(0, bytes)
	s.index.mu.Unlock()
}

func (s *Store) syncActive() error {
	w := &s.writer
	watch := s.stopwatch()
	if err := w.active.write.SyncData(); err != nil {
		return fmt.Errorf("sync %s: %w", w.active.name, err)
	}
	watch.Stop(&s.metrics.sync)
	s.counters.syncs.Add(1)
	w.durable = w.seq
	return nil
}

// fits reports whether a group, the footer and the trailer have room in the active segment. A group that is larger than a segment
// gets one of its own, which grows.
func (s *Store) fits(length int64, records int) bool {
	w := &s.writer
	return w.position+length+alignUp(w.footer.bound(records))+blockSize <= w.active.size || w.position == blockSize
}

// prepare gives the records of a group their places and decodes them.
func (s *Store) prepare(c *groupCommit) error {
	w := &s.writer
	w.operations, w.owners = w.operations[:0], w.owners[:0]
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	for at := headerSize; at < len(c.data); {
		record := c.data[at:]
		h := rawRecordHeader(record)
		body := record[recordHeaderSize : recordHeaderSize+int(h.length)]
		w.operations = append(w.operations, operation{})
		o := &w.operations[len(w.operations)-1]
		offset := w.position + int64(at)
		if err := decodeOperation(h, body, offset, false, o); err != nil {
			return fmt.Errorf("%w: %v: %w", logdb.ErrInvalidSave, h.key, err)
		}
		if h.kind&recordMoved != 0 && !s.stillThere(o, c.moving) {
			le.PutUint32(record[4:], uint32(recordVoid)<<28|h.length)
			o.kind = recordVoid
		}
		w.owners = append(w.owners, s.owner(o))
		at += recordBytes(int(h.length))
	}
	for i, r := range w.owners {
		w.warm(i)
		if r != nil {
			r.chain(&w.operations[i], w.seq)
		}
	}
	w.markLast(c)
	return nil
}

// markLast says in the last record of each replica that it is that, and then completes all headers. It is the last by its place and not by its id: what
// comes behind a Remove counts from 0 again, so in a group of a Save, a Remove and a Save two have the same.
func (w *writer) markLast(c *groupCommit) {
	for i := len(w.operations) - 1; i >= 0; i-- {
		o, r := &w.operations[i], w.owners[i]
		if r != nil && !r.marked {
			r.marked = true
			le.PutUint32(c.data[o.offset-w.position+28:], recordLast)
		}
	}
	for i := range w.operations {
		o := &w.operations[i]
		if r := w.owners[i]; r != nil {
			r.marked = false
		}
		placeRecord(c.data[o.offset-w.position:], o.previous, w.active.number, o.offset)
	}
}

// owner returns the replica that a record is of, nil for a void one. s.index.mu is held.
func (s *Store) owner(o *operation) *replica {
	if o.kind == recordVoid {
		return nil
	}
	return s.index.get(o.key)
}

// chain gives a record of group seq its id and its predecessor. It changes the index before the write, in what only the writer looks at. The index's
// mutex is held.
func (r *replica) chain(o *operation, seq uint64) {
	o.previous, o.id = r.last, nextID(r.last, seq)
	r.last = o.id
	if o.kind == recordRemove {
		r.last = 0
	}
}

// stillThere reports whether what a record repeats is alive and where it was, in the segment that is being emptied. The record
// comes before all others of its group, so the index says it all.
func (s *Store) stillThere(o *operation, from uint32) bool {
	r := s.index.replicas[o.key]
	if r == nil {
		return false
	}
	switch o.kind &^ recordMoved {
	case recordSave:
		if o.flags&saveBatch == 0 {
			return r.stateAt == from
		}
		i, found := r.findRun(o.first)
		return found && r.runs[i].segment == from && r.runs[i].count == o.count && r.runs[i].term == o.term
	case recordCompact:
		return r.compactAt == from
	case recordBootstrap:
		return r.bootstrap.segment == from
	case recordInstall:
		return r.installing().segment == from
	case recordConfig:
		return r.configAt(o.index).segment == from
	case recordDamage:
		return r.damageAt() == from
	default:
		return false
	}
}

// rotate seals the active segment and begins the next. Everything in the old one is durable before the first byte of the new one is
// written, so that a segment that was begun bears witness of all before it.
func (s *Store) rotate() error {
	w := &s.writer
	if w.durable < w.seq {
		// The trailer bears witness of all groups: it must not reach the disk before they do.
		if err := s.syncActive(); err != nil {
			return err
		}
	}
	if err := s.seal(w.active, w.footer, w.position, w.active.write); err != nil {
		return err
	}
	err := w.active.write.Close()
	w.active.write = nil
	if err != nil {
		return fmt.Errorf("close %s: %w", w.active.name, err)
	}
	next, err := s.nextSegment()
	if err != nil {
		return err
	}
	s.counters.rotations.Add(1)
	return s.begin(next)
}

// begin makes a prepared segment the active one. Its header is synced with the first group.
func (s *Store) begin(next *segment) error {
	w := &s.writer
	next.first, next.next = w.seq+1, w.seq+1
	clear(w.header)
	segmentHeader{segment: next.number, first: next.first, floor: w.floor}.encode(w.header)
	if _, err := next.write.WriteAt(w.header, 0); err != nil {
		return fmt.Errorf("write header of %s: %w", next.name, err)
	}
	w.active, w.position, w.footer = next, blockSize, newFooter()
	s.counters.written.Store(0)
	s.index.mu.Lock()
	s.index.segments[uint32(next.number)] = next
	s.order = append(s.order, next)
	s.index.mu.Unlock()
	return nil
}

// seal writes the footer and the trailer of a segment and syncs it.
func (s *Store) seal(sealed *segment, f *footer, position int64, file fileWriter) error {
	encoded := f.encode()
	buffer := alignedBuffer(len(encoded) + blockSize)
	buffer = append(buffer, encoded...)
	buffer = buffer[:alignUp(int64(len(encoded)))]
	if _, err := file.WriteAt(buffer, position); err != nil {
		return fmt.Errorf("write footer of %s: %w", sealed.name, err)
	}
	end := max(sealed.filled-blockSize, position+int64(len(buffer)))
	last := alignedBuffer(blockSize)[:blockSize]
	trailer{
		segment: sealed.number, footerOffset: position, footerLength: uint32(len(encoded)), footerSum: footerChecksum(encoded),
		first: sealed.first, last: sealed.next - 1,
	}.encode(last)
	if _, err := file.WriteAt(last, end); err != nil {
		return fmt.Errorf("write trailer of %s: %w", sealed.name, err)
	}
	if err := file.SyncData(); err != nil {
		return fmt.Errorf("sync %s: %w", sealed.name, err)
	}
	s.counters.syncs.Add(1)
	s.counters.bytes.Add(uint64(len(buffer)) + blockSize)
	s.index.mu.Lock()
	sealed.size, sealed.filled = end+blockSize, end+blockSize
	s.index.mu.Unlock()
	return nil
}

// fileWriter is what sealing needs of a file.
type fileWriter interface {
	WriteAt(data []byte, offset int64) (int, error)
	SyncData() error
}
