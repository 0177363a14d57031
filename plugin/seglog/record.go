package seglog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// The first byte of a recordSave says what follows it, in this order.
const (
	saveState    = 1 << 0 // term, vote, commit, as varints
	saveTruncate = 1 << 1 // the index, as a varint
	saveBatch    = 1 << 2 // a batch, up to the record's end

	knownSaveFlags = saveState | saveTruncate | saveBatch
)

// maxSavePrefix is the most that stands before the batch.
const maxSavePrefix = 1 + 4*binary.MaxVarintLen64

// operation is what one record does to the index. It is decoded from the record when the group was written or is scanned, or from
// the footer of a segment, which has it without the record's body: the index is built by the same code in all three cases.
type operation struct {
	recordHeader
	id     uint64 // of this record, in the chain of its replica
	offset int64  // of the record in the segment's file

	flags    byte // of a recordSave
	state    raftpb.HardState
	truncate uint64

	// first, term, count and batch describe the batch: batch is where its bytes begin, counted from the record's.
	first, term uint64
	count       uint32
	batch       uint32

	index, indexTerm uint64 // of a compaction or a configuration
	damage           string // of a recordDamage
}

// batchBytes returns the length of the batch in a recordSave with saveBatch.
func (o *operation) batchBytes() uint32 { return recordHeaderSize + o.length - o.batch }

// appendSavePrefix appends what precedes the batch in the body of a recordSave.
func appendSavePrefix(dst []byte, flags byte, state raftpb.HardState, truncate uint64) []byte {
	dst = append(dst, flags)
	if flags&saveState != 0 {
		dst = binary.AppendUvarint(dst, state.Term)
		dst = binary.AppendUvarint(dst, state.Vote)
		dst = binary.AppendUvarint(dst, state.Commit)
	}
	if flags&saveTruncate != 0 {
		dst = binary.AppendUvarint(dst, truncate)
	}
	return dst
}

// fieldReader reads varints one after another; the first failure sticks.
type fieldReader struct {
	data []byte
	at   int
	bad  bool
}

func (r *fieldReader) uvarint() uint64 {
	value, n := binary.Uvarint(r.data[r.at:])
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.at += n
	return value
}

func (r *fieldReader) varint() int64 {
	value := r.uvarint()
	return int64(value>>1) ^ -int64(value&1)
}

func (r *fieldReader) byte() byte {
	if r.at >= len(r.data) {
		r.bad = true
		return 0
	}
	r.at++
	return r.data[r.at-1]
}

// bodySum is the checksum of a record's body. Of a batch only the header is covered: it holds checksums of the rest.
func bodySum(body []byte, batch int) uint32 {
	if batch > 0 {
		body = body[:min(len(body), batch+raftpb.HeaderSize)]
	}
	return crc32.Checksum(body, castagnoli)
}

// decodeOperation decodes a record. The body is parsed, and with verify its checksums are checked; errors name what is wrong with it.
func decodeOperation(h recordHeader, body []byte, offset int64, verify bool, o *operation) error {
	*o = operation{recordHeader: h, offset: offset}
	var err error
	switch h.kind &^ recordMoved {
	case recordVoid, recordRemove:
		if h.kind&recordMoved != 0 {
			err = fmt.Errorf("%w: kind %d", raftpb.ErrBadRecord, h.kind)
		}
	case recordSave:
		err = o.decodeSave(body)
	case recordCompact:
		fields := fieldReader{data: body}
		o.index, o.indexTerm = fields.uvarint(), fields.uvarint()
		if fields.bad || fields.at != len(body) {
			err = fmt.Errorf("%w: compaction of %d bytes", raftpb.ErrBadRecord, len(body))
		}
	case recordBootstrap:
		if verify {
			_, err = raftpb.DecodeBootstrap(body)
		}
	case recordInstall:
		if verify && len(body) > 0 {
			_, err = raftpb.DecodeSnapshotMeta(body)
		}
	case recordConfig:
		var config raftpb.ConfigRecord
		config, err = raftpb.DecodeConfigRecord(body)
		o.index = config.Index
	case recordDamage:
		o.damage = string(body)
	default:
		err = fmt.Errorf("%w: kind %d", raftpb.ErrBadRecord, h.kind)
	}
	if err != nil || !verify || h.kind == recordVoid {
		return err
	}
	return o.verify(body)
}

func (o *operation) decodeSave(body []byte) error {
	fields := fieldReader{data: body}
	o.flags = fields.byte()
	if o.flags&saveState != 0 {
		o.state = raftpb.HardState{Term: fields.uvarint(), Vote: fields.uvarint(), Commit: fields.uvarint()}
	}
	if o.flags&saveTruncate != 0 {
		o.truncate = fields.uvarint()
	}
	if fields.bad || o.flags&^knownSaveFlags != 0 {
		return fmt.Errorf("%w: save of %d bytes with flags %#x", raftpb.ErrBadRecord, len(body), o.flags)
	}
	if o.flags&saveBatch == 0 {
		if fields.at != len(body) {
			return fmt.Errorf("%w: save of %d bytes, want %d", raftpb.ErrBadRecord, len(body), fields.at)
		}
		return nil
	}
	if len(body)-fields.at < raftpb.HeaderSize {
		return fmt.Errorf("%w: batch of %d bytes", raftpb.ErrBadRecord, len(body)-fields.at)
	}
	batch := raftpb.Batch(body[fields.at:])
	o.first, o.term, o.count = batch.First(), batch.Term(), batch.Count()
	o.batch = uint32(recordHeaderSize + fields.at)
	return nil
}

// verify checks everything that checksums can tell of the body.
func (o *operation) verify(body []byte) error {
	at := 0
	if o.flags&saveBatch != 0 {
		at = int(o.batch) - recordHeaderSize
	}
	if sum := bodySum(body, at); sum != o.bodySum {
		return fmt.Errorf("%w: checksum %08x of a record, stored %08x", raftpb.ErrBadRecord, sum, o.bodySum)
	}
	if at == 0 {
		return nil
	}
	batch, err := raftpb.ParseBatch(body[at:])
	if err != nil {
		return err
	}
	if batch.ShardID() != o.key.ShardID || batch.First() == 0 {
		return fmt.Errorf("%w: batch of shard %d at index %d", raftpb.ErrBadRecord, batch.ShardID(), batch.First())
	}
	return batch.Verify()
}
