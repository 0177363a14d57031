package seglog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// footer collects, while a segment is written, what its records do to the index, without their bodies: opening a sealed segment
// reads this instead of the segment. Numbers are differences wherever that makes them small.
//
//	replicas: count, then for each: shard, replica, previous of its first record here, id of its last
//	operations, in the order of the stream: slot of the replica, kind and what is left out, distance from the end of the record before, length,
//	fields by kind
//
// What the usual record has is left out, so that one of a small batch takes some six bytes.
type footer struct {
	slots      map[logdb.ReplicaKey]int
	replicas   []footerReplica
	operations []byte
	count      int
	end        int64 // of the record before
	slotBytes  int   // bounds what the replicas take
}

// footerReplica is a replica in a footer, and what the next operation's fields are counted from.
type footerReplica struct {
	key            logdb.ReplicaKey
	previous, last uint64
	next, term     uint64 // index and term behind the batch before
}

// What is left out, in the upper half of the byte of the kind.
const (
	footerAdjacent = 1 << 4 // the distance is 0
	footerFollows  = 1 << 5 // the batch begins behind the one before, in its term
	footerSingle   = 1 << 6 // it has one entry
)

// slotBytes bounds what a replica takes in a footer, operationBytes what an operation takes besides the text of damage.
const (
	slotBytes      = 4 * binary.MaxVarintLen64
	operationBytes = 16 + 8*binary.MaxVarintLen64
)

func newFooter() *footer { return &footer{slots: map[logdb.ReplicaKey]int{}, end: blockSize} }

// bound returns a size that the footer does not exceed once so many more records have been added.
func (f *footer) bound(records int) int64 {
	return int64(len(f.operations)+f.slotBytes) + int64(records)*(slotBytes+operationBytes) + blockSize
}

func (f *footer) slot(o *operation) (int, *footerReplica) {
	slot, ok := f.slots[o.key]
	if !ok {
		slot = len(f.replicas)
		f.slots[o.key] = slot
		var key [slotBytes]byte
		f.slotBytes += len(binary.AppendUvarint(binary.AppendUvarint(key[:0], o.key.ShardID), o.key.ReplicaID)) + 2*binary.MaxVarintLen64
		f.replicas = append(f.replicas, footerReplica{key: o.key, previous: o.previous})
	}
	return slot, &f.replicas[slot]
}

// add adds an operation.
func (f *footer) add(o *operation) {
	if o.kind == recordVoid {
		return
	}
	slot, r := f.slot(o)
	r.last = o.id
	f.count++
	b := binary.AppendUvarint(f.operations, uint64(slot))
	left := r.leavesOut(o, f.end)
	b = append(b, byte(o.kind)|left)
	if left&footerAdjacent == 0 {
		b = binary.AppendUvarint(b, uint64(o.offset-f.end))
	}
	b = binary.AppendUvarint(b, uint64(o.length))
	f.end = o.offset + int64(recordBytes(int(o.length)))
	switch o.kind &^ recordMoved {
	case recordSave:
		b = r.appendSave(b, o, left)
	case recordCompact:
		b = binary.AppendUvarint(b, o.index)
		b = binary.AppendUvarint(b, o.indexTerm)
	case recordConfig:
		b = binary.AppendUvarint(b, o.index)
	case recordDamage:
		b = append(b, o.damage...)
	}
	f.operations = b
}

// leavesOut says what is usual about an operation; end is that of the record before.
func (r *footerReplica) leavesOut(o *operation, end int64) (left byte) {
	if o.offset == end {
		left |= footerAdjacent
	}
	if o.kind&^recordMoved != recordSave || o.flags&saveBatch == 0 {
		return left
	}
	if o.first == r.next && o.term == r.term {
		left |= footerFollows
	}
	if o.count == 1 {
		left |= footerSingle
	}
	return left
}

// appendSave adds the fields of a recordSave. Where its batch begins follows from what is before it.
func (r *footerReplica) appendSave(b []byte, o *operation, left byte) []byte {
	b = appendSavePrefix(b, o.flags, o.state, o.truncate)
	if o.flags&saveBatch == 0 {
		return b
	}
	if left&footerFollows == 0 {
		b = binary.AppendVarint(b, int64(o.first-r.next))
		b = binary.AppendVarint(b, int64(o.term-r.term))
	}
	if left&footerSingle == 0 {
		b = binary.AppendUvarint(b, uint64(o.count))
	}
	r.next, r.term = o.first+uint64(o.count), o.term
	return b
}

// encode returns the footer's bytes.
func (f *footer) encode() []byte {
	b := binary.AppendUvarint(make([]byte, 0, f.bound(0)), uint64(len(f.replicas)))
	for i := range f.replicas {
		r := &f.replicas[i]
		b = binary.AppendUvarint(b, r.key.ShardID)
		b = binary.AppendUvarint(b, r.key.ReplicaID)
		b = binary.AppendUvarint(b, r.previous)
		b = binary.AppendUvarint(b, r.last)
	}
	b = binary.AppendUvarint(b, uint64(f.count))
	return append(b, f.operations...)
}

// footerReader decodes a footer. The checksum was verified; what does not fit all the same is an error, never a panic.
type footerReader struct {
	fieldReader
	replicas []footerReplica
	seen     []bool
	count    uint64
	end      int64
}

func (r *footerReader) begin(data []byte) error {
	*r = footerReader{fieldReader: fieldReader{data: data}, end: blockSize}
	count := r.uvarint()
	if count > uint64(len(data))/4+1 {
		return fmt.Errorf("%w: footer of %d bytes with %d replicas", errNotOurs, len(data), count)
	}
	r.replicas = make([]footerReplica, count)
	r.seen = make([]bool, count)
	for i := range r.replicas {
		p := &r.replicas[i]
		p.key.ShardID, p.key.ReplicaID = r.uvarint(), r.uvarint()
		p.previous, p.last = r.uvarint(), r.uvarint()
	}
	r.count = r.uvarint()
	return r.check()
}

func (r *footerReader) check() error {
	if r.bad {
		return fmt.Errorf("%w: footer is cut off", errNotOurs)
	}
	return nil
}

// next decodes the next operation; false at the end. The chain within the segment was sound when the footer was made, so only a
// replica's first record is held against what came before, and each is given the id of the last.
func (r *footerReader) next(o *operation) (more, first bool, err error) {
	if r.count == 0 {
		if r.at != len(r.data) {
			return false, false, fmt.Errorf("%w: footer has %d bytes too many", errNotOurs, len(r.data)-r.at)
		}
		return false, false, nil
	}
	r.count--
	slot := r.uvarint()
	if slot >= uint64(len(r.replicas)) {
		return false, false, fmt.Errorf("%w: footer names replica %d of %d", errNotOurs, slot, len(r.replicas))
	}
	p := &r.replicas[slot]
	kind := r.byte()
	left := kind & (footerAdjacent | footerFollows | footerSingle)
	*o = operation{recordHeader: recordHeader{kind: recordKind(kind &^ left), key: p.key, previous: p.previous}, id: p.last}
	distance := uint64(0)
	if left&footerAdjacent == 0 {
		distance = r.uvarint()
	}
	length := r.uvarint()
	if distance > math.MaxUint32 || length > maxRecordBytes {
		return false, false, fmt.Errorf("%w: footer names a record of %d bytes", errNotOurs, length)
	}
	o.offset, o.length = r.end+int64(distance), uint32(length)
	r.end = o.offset + int64(recordBytes(int(length)))
	if r.end > math.MaxUint32 {
		return false, false, fmt.Errorf("%w: footer names offset %d", errNotOurs, r.end)
	}
	if err := r.fields(o, p, left); err != nil {
		return false, false, err
	}
	first, r.seen[slot] = !r.seen[slot], true
	return true, first, r.check()
}

func (r *footerReader) fields(o *operation, p *footerReplica, left byte) error {
	switch o.kind &^ recordMoved {
	case recordSave:
		return r.save(o, p, left)
	case recordCompact:
		o.index, o.indexTerm = r.uvarint(), r.uvarint()
	case recordConfig:
		o.index = r.uvarint()
	case recordDamage:
		if int(o.length) > len(r.data)-r.at {
			return fmt.Errorf("%w: footer is cut off", errNotOurs)
		}
		o.damage = string(r.data[r.at : r.at+int(o.length)])
		r.at += int(o.length)
	case recordRemove, recordBootstrap, recordInstall:
	default:
		return fmt.Errorf("%w: footer names a record of kind %d", errNotOurs, o.kind)
	}
	return nil
}

func (r *footerReader) save(o *operation, p *footerReplica, left byte) error {
	prefix := r.at
	o.flags = r.byte()
	if o.flags&saveState != 0 {
		o.state = raftpb.HardState{Term: r.uvarint(), Vote: r.uvarint(), Commit: r.uvarint()}
	}
	if o.flags&saveTruncate != 0 {
		o.truncate = r.uvarint()
	}
	if o.flags&saveBatch == 0 {
		return nil
	}
	count, batch := uint64(1), uint64(recordHeaderSize+r.at-prefix)
	o.first, o.term = p.next, p.term
	if left&footerFollows == 0 {
		o.first, o.term = p.next+uint64(r.varint()), p.term+uint64(r.varint())
	}
	if left&footerSingle == 0 {
		count = r.uvarint()
	}
	if count == 0 || count > raftpb.MaxBatchEntries || batch > uint64(recordHeaderSize+o.length) || batch < recordHeaderSize {
		return fmt.Errorf("%w: footer names a batch of %d entries at %d", errNotOurs, count, batch)
	}
	o.count, o.batch = uint32(count), uint32(batch)
	p.next, p.term = o.first+count, o.term
	return nil
}

func footerChecksum(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }
