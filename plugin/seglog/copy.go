package seglog

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
)

// copyBytes is how much of a copy is collected before it is written.
const copyBytes = 1 << 20

// segmentCopy is the copy of the last segment that is made when a directory is opened: what is whole in it, group by group, each record at
// its new place, and what is known of damage. It takes the original's place in the stream.
type segmentCopy struct {
	recovery *recovery
	segment  *segment
	footer   *footer
	file     vfs.File
	temp     string
	buffer   []byte // not written yet; begins at written
	written  int64
	records  int
}

// copyLast copies the last segment and applies the copy. The original is given back once the copy's name is durable.
func (r *recovery) copyLast(f *found, tail scan) error {
	r.report(f, &tail)
	r.next = tail.next
	if len(tail.groups) == 0 {
		r.judge()
		if !r.unrecorded() {
			return r.store.giveBack(&f.segment)
		}
	}
	c, err := r.newCopy(f)
	if err != nil {
		return err
	}
	err = c.fill(tail)
	if err != nil {
		return errors.Join(err, c.file.Close())
	}
	if err := c.finish(); err != nil {
		return err
	}
	f.data = nil
	return r.store.giveBack(&f.segment)
}

func (r *recovery) newCopy(f *found) (*segmentCopy, error) {
	p, d := &r.store.pool, &r.store.directory
	p.mu.Lock()
	number := p.number()
	p.mu.Unlock()
	c := &segmentCopy{
		recovery: r, footer: newFooter(), temp: tempName(number), buffer: alignedBuffer(copyBytes),
		segment: &segment{number: number, name: segmentName(number), first: f.first},
	}
	var err error
	if c.file, err = d.openWrite(c.temp); err != nil {
		return nil, err
	}
	r.keepSegment(c.segment)
	head := c.reserve(blockSize)
	segmentHeader{segment: number, first: f.first, replaces: f.number, floor: r.floor}.encode(head)
	return c, nil
}

// reserve returns so many bytes, whole blocks of zeros, at the end of what is not written yet.
func (c *segmentCopy) reserve(size int) []byte {
	start := len(c.buffer)
	end := start + int(alignUp(int64(size)))
	if end > cap(c.buffer) {
		c.buffer = append(alignedBuffer(2*end), c.buffer...)
	}
	c.buffer = c.buffer[:end]
	clear(c.buffer[start:])
	return c.buffer[start:]
}

func (c *segmentCopy) position() int64 { return c.written + int64(len(c.buffer)) }

func (c *segmentCopy) write() error {
	if _, err := c.file.WriteAt(c.buffer, c.written); err != nil {
		return fmt.Errorf("write %s: %w", c.temp, err)
	}
	c.written += int64(len(c.buffer))
	c.buffer = c.buffer[:0]
	return nil
}

// fill writes the groups, and then one with what is damaged.
func (c *segmentCopy) fill(tail scan) error {
	r := c.recovery
	for i := range tail.groups {
		if err := c.add(&tail.groups[i]); err != nil {
			return err
		}
	}
	r.judge()
	if !r.unrecorded() {
		return nil
	}
	g := scanned{header: groupHeader{seq: r.next, floor: r.floor}}
	x := r.store.index
	for _, key := range x.keys() {
		if p := x.replicas[key]; !p.damaged || p.damageAt() != 0 {
			continue
		}
		var group Group
		group.add(recordDamage, key, []byte(x.damage[key]))
		le.PutUint32(group.data[28:], recordLast)
		record := scannedRecord{bytes: group.data}
		header := rawRecordHeader(group.data)
		header.previous = x.replicas[key].last
		record.operation = operation{recordHeader: header, damage: x.damage[key]}
		g.records = append(g.records, record)
	}
	r.next++
	return c.add(&g)
}

// unrecorded reports whether a replica is damaged without a record that says so.
func (r *recovery) unrecorded() bool {
	for _, p := range r.store.index.replicas { // any order
		if p.damaged && p.damageAt() == 0 {
			return true
		}
	}
	return false
}

// add writes one group and applies it from its new place.
func (c *segmentCopy) add(g *scanned) error {
	size := headerSize
	for i := range g.records {
		size += len(g.records[i].bytes)
	}
	position := c.position()
	bytes := c.reserve(size)
	at := headerSize
	for i := range g.records {
		record := &g.records[i]
		copy(bytes[at:], record.bytes)
		o := &record.operation
		o.offset = position + int64(at)
		placeRecord(bytes[at:], o.previous, c.segment.number, o.offset)
		c.recovery.identify(o, g.header.seq, uint32(c.segment.number))
		c.recovery.store.index.apply(o, uint32(c.segment.number))
		c.footer.add(o)
		at += len(record.bytes)
	}
	c.records += len(g.records)
	groupHeader{
		segment: c.segment.number, offset: position, length: uint32(size), records: uint32(len(g.records)),
		seq: g.header.seq, durable: min(g.header.durable, g.header.seq-1), floor: min(g.header.floor, g.header.seq),
	}.encode(bytes)
	if len(c.buffer) >= copyBytes {
		return c.write()
	}
	return nil
}

// finish seals the copy and puts it in the place of the original.
func (c *segmentCopy) finish() error {
	s, d := c.recovery.store, &c.recovery.store.directory
	c.segment.next = c.recovery.next
	err := c.write()
	if err == nil {
		err = s.seal(c.segment, c.footer, c.written, c.file)
	}
	if err = errors.Join(err, c.file.Close()); err != nil {
		return fmt.Errorf("%w: copy of the last segment: %w", logdb.ErrFailed, err)
	}
	if err := d.rename(c.temp, c.segment.name); err != nil {
		return err
	}
	if err := d.sync(); err != nil {
		return err
	}
	if c.segment.file, err = d.openRead(c.segment.name); err != nil {
		return err
	}
	return c.readBack()
}

// readBack checks that the copy is there, before the original is given back.
func (c *segmentCopy) readBack() error {
	last := c.segment.next - 1
	again := scanSegment(c.recovery.store.directory.readAll(c.segment.file, c.segment.size), c.segment.number, c.segment.first, last)
	records := 0
	for i := range again.groups {
		records += len(again.groups[i].records)
	}
	if records != c.records {
		return fmt.Errorf("%w: copy of the last segment: of %d records %d are there", logdb.ErrFailed, c.records, records)
	}
	return nil
}
