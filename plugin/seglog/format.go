package seglog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/flotilla-raft/flotilla/logdb"
)

// Sizes of the format in bytes. The layouts are drawn in doc.go; all integers are little endian.
const (
	blockSize        = 4096
	headerSize       = 64 // of a segment, a group, or a trailer
	recordHeaderSize = 40
	recordAlign      = 8
	// maxRecordBytes limits the body of one record: 28 bits of length.
	maxRecordBytes = 1<<28 - 1
	// maxGroupBytes limits one Commit.
	maxGroupBytes = 1 << 30

	formatVersion = 1
)

// The first eight bytes of the three headers. No two are alike in any byte that one flipped bit could make alike.
const (
	segmentMagic = "flotSEGM"
	groupMagic   = "flotgrup"
	trailerMagic = "flotEND!"
)

var (
	// errNotOurs says that bytes are none of the format's structures: never written, of an earlier life of the file, or damaged.
	errNotOurs = errors.New("not written here")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

func alignUp(n int64) int64      { return (n + blockSize - 1) &^ (blockSize - 1) }
func alignRecord(n int) int      { return (n + recordAlign - 1) &^ (recordAlign - 1) }
func recordBytes(length int) int { return alignRecord(recordHeaderSize + length) }

// sealHeader fills in magic, version and checksum of a header whose other fields, from 16 on, are set.
func sealHeader(dst []byte, magic string) {
	copy(dst[0:8], magic)
	le.PutUint16(dst[12:], formatVersion)
	le.PutUint32(dst[8:], crc32.Checksum(dst[12:headerSize], castagnoli))
}

// checkHeader checks magic, checksum and version of a header of a segment.
func checkHeader(src []byte, magic string, segment uint64) error {
	if len(src) < headerSize || string(src[0:8]) != magic {
		return fmt.Errorf("%w: no header", errNotOurs)
	}
	if crc32.Checksum(src[12:headerSize], castagnoli) != le.Uint32(src[8:]) {
		return fmt.Errorf("%w: checksum of a header", errNotOurs)
	}
	if version := le.Uint16(src[12:]); version != formatVersion {
		return fmt.Errorf("%w: version %d of a header, want %d", errNotOurs, version, formatVersion)
	}
	if got := le.Uint64(src[16:]); got != segment {
		return fmt.Errorf("%w: header of segment %d", errNotOurs, got)
	}
	return nil
}

// segmentHeader is the first block of a segment file.
type segmentHeader struct {
	segment uint64 // its number: the generation of the file
	first   uint64 // the sequence number of its first group: all before it are in earlier segments, or were never acknowledged
	// replaces is the segment that this one is a copy of, 0 for none: that one counts no more.
	replaces uint64
	floor    uint64 // groups before this one were needed no more when the segment was begun
}

func (h segmentHeader) encode(dst []byte) {
	clear(dst[:headerSize])
	le.PutUint64(dst[16:], h.segment)
	le.PutUint64(dst[24:], h.first)
	le.PutUint64(dst[32:], h.replaces)
	le.PutUint64(dst[40:], h.floor)
	sealHeader(dst, segmentMagic)
}

func decodeSegmentHeader(src []byte, segment uint64) (segmentHeader, error) {
	if err := checkHeader(src, segmentMagic, segment); err != nil {
		return segmentHeader{}, err
	}
	h := segmentHeader{segment: segment, first: le.Uint64(src[24:]), replaces: le.Uint64(src[32:]), floor: le.Uint64(src[40:])}
	return h, nil
}

// groupHeader begins a group commit, at the beginning of a block.
type groupHeader struct {
	segment uint64
	offset  int64  // in the file
	length  uint32 // of header and records, without the padding to the block's end
	records uint32
	seq     uint64 // number of the group, one higher than that of the one before
	durable uint64 // every group up to this one was known durable when this was written
	floor   uint64 // groups before this one are needed no more
}

func (h groupHeader) encode(dst []byte) {
	clear(dst[:headerSize])
	le.PutUint64(dst[16:], h.segment)
	le.PutUint32(dst[24:], uint32(h.offset/blockSize))
	le.PutUint32(dst[28:], h.length)
	le.PutUint64(dst[32:], h.seq)
	le.PutUint64(dst[40:], h.durable)
	le.PutUint64(dst[48:], h.floor)
	le.PutUint32(dst[56:], h.records)
	sealHeader(dst, groupMagic)
}

// decodeGroupHeader decodes the header of a group that has to be in that segment at that offset.
func decodeGroupHeader(src []byte, segment uint64, offset int64) (groupHeader, error) {
	if err := checkHeader(src, groupMagic, segment); err != nil {
		return groupHeader{}, err
	}
	h := groupHeader{
		segment: segment, offset: int64(le.Uint32(src[24:])) * blockSize, length: le.Uint32(src[28:]), records: le.Uint32(src[56:]),
		seq: le.Uint64(src[32:]), durable: le.Uint64(src[40:]), floor: le.Uint64(src[48:]),
	}
	if h.offset != offset || h.length < headerSize || h.seq == 0 || h.durable >= h.seq || h.floor > h.seq {
		return groupHeader{}, fmt.Errorf("%w: group %d of %d bytes for offset %d", errNotOurs, h.seq, h.length, h.offset)
	}
	return h, nil
}

// trailer is the last block of a sealed segment.
type trailer struct {
	segment      uint64
	footerOffset int64
	footerLength uint32
	footerSum    uint32
	first, last  uint64 // sequence numbers of its groups; last is first-1 if there are none
}

func (t trailer) encode(dst []byte) {
	clear(dst[:headerSize])
	le.PutUint64(dst[16:], t.segment)
	le.PutUint32(dst[24:], uint32(t.footerOffset/blockSize))
	le.PutUint32(dst[28:], t.footerLength)
	le.PutUint64(dst[32:], t.first)
	le.PutUint64(dst[40:], t.last)
	le.PutUint32(dst[48:], t.footerSum)
	sealHeader(dst, trailerMagic)
}

func decodeTrailer(src []byte, segment uint64) (trailer, error) {
	if err := checkHeader(src, trailerMagic, segment); err != nil {
		return trailer{}, err
	}
	return trailer{
		segment: segment, footerOffset: int64(le.Uint32(src[24:])) * blockSize, footerLength: le.Uint32(src[28:]),
		footerSum: le.Uint32(src[48:]), first: le.Uint64(src[32:]), last: le.Uint64(src[40:]),
	}, nil
}

// recordKind says what a record holds. Numbers are on disk, in four bits.
type recordKind uint8

const (
	recordVoid      recordKind = 0 // nothing: what it held was dead before it was written
	recordSave      recordKind = 1 // hard state, truncation, batch, each if there
	recordCompact   recordKind = 2
	recordRemove    recordKind = 3
	recordBootstrap recordKind = 4
	recordConfig    recordKind = 5
	recordDamage    recordKind = 6 // what was found damaged: the replica stays out of service
	recordInstall   recordKind = 7 // a snapshot: the log goes and begins anew behind it; empty: the state machine has recovered from it

	// recordMoved is set in a record that repeats what an older segment holds, so that that one can go.
	recordMoved recordKind = 8
)

// recordHeader begins a record, at a multiple of recordAlign.
type recordHeader struct {
	kind    recordKind
	length  uint32 // of the body
	key     logdb.ReplicaKey
	bodySum uint32
	// previous is the id of the replica's record before this one, 0 for its first: a record that is missing leaves a hole in the chain.
	previous uint64
	// last says that the replica has no other record behind this one in the group: if that one is lost, this one tells.
	last bool
}

// recordLast is the bit for that.
const recordLast = 1

// encode writes the header but for last, previous and the checksum, which are known when the record has its place.
func (h recordHeader) encode(dst []byte) {
	clear(dst[:recordHeaderSize])
	le.PutUint32(dst[4:], uint32(h.kind)<<28|h.length)
	le.PutUint64(dst[8:], h.key.ShardID)
	le.PutUint64(dst[16:], h.key.ReplicaID)
	le.PutUint32(dst[24:], h.bodySum)
}

// place fills in what depends on the record's place in the stream.
func placeRecord(header []byte, previous, segment uint64, offset int64) {
	le.PutUint64(header[32:], previous)
	le.PutUint32(header, recordSum(header, segment, offset))
}

// recordSum is the checksum of a record's header, whose place it covers: a record that the disk put elsewhere, or that is left
// from an earlier life of the file, does not match. Two places in the same file never have the same one. No memory is allocated, which
// passing a small array to package crc32 would do.
func recordSum(header []byte, segment uint64, offset int64) uint32 {
	mix := uint32(segment)*0x9E3779B1 ^ uint32(segment>>32) ^ uint32(offset/recordAlign)*0x85EBCA6B
	sum := ^uint32(0)
	for range 4 {
		sum = castagnoli[byte(sum)^byte(mix)] ^ sum>>8
		mix >>= 8
	}
	return crc32.Update(^sum, castagnoli, header[4:recordHeaderSize])
}

// decodeRecordHeader decodes the header of a record at that place; room is what remains of the group from there on.
func decodeRecordHeader(src []byte, segment uint64, offset int64) (recordHeader, error) {
	if len(src) < recordHeaderSize {
		return recordHeader{}, fmt.Errorf("%w: %d bytes for a record", errNotOurs, len(src))
	}
	if le.Uint32(src) != recordSum(src, segment, offset) {
		return recordHeader{}, fmt.Errorf("%w: checksum of a record's header", errNotOurs)
	}
	h := rawRecordHeader(src)
	if int(h.length) > len(src)-recordHeaderSize || le.Uint32(src[28:])&^recordLast != 0 {
		return recordHeader{}, fmt.Errorf("%w: record of %d bytes where %d are left", errNotOurs, h.length, len(src)-recordHeaderSize)
	}
	return h, nil
}

// rawRecordHeader decodes a header that this process has made, without its checksum.
func rawRecordHeader(src []byte) recordHeader {
	word := le.Uint32(src[4:])
	return recordHeader{
		kind: recordKind(word >> 28), length: word & maxRecordBytes, bodySum: le.Uint32(src[24:]), previous: le.Uint64(src[32:]),
		last: le.Uint32(src[28:])&recordLast != 0,
		key:  logdb.ReplicaKey{ShardID: le.Uint64(src[8:]), ReplicaID: le.Uint64(src[16:])},
	}
}
