package raftpb

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"
)

// Clone returns a copy of the batch in memory of its own, exactly as large as the batch. What must outlive the buffer
// that it was received in is cloned.
func (b Batch) Clone() Batch {
	clone := make(Batch, len(b))
	copy(clone, b)
	return clone
}

// Compress returns the batch with its body compressed (s2), or the batch itself if that does not make it smaller, its
// plain body is shorter than threshold bytes, or it has no plain body. It is called before the stamp, where the batch
// was built: nobody repeats it later, so that all replicas hold the same bytes. The checksum of the plain commands is kept.
func (b Batch) Compress(threshold int) Batch {
	if b.Flags()&(FlagCompressed|FlagBodyOmitted) != 0 || len(b)-HeaderSize < threshold {
		return b
	}
	plain := b.Body()
	scratch := make([]byte, HeaderSize+s2.MaxEncodedLen(len(plain)))
	stored := s2.Encode(scratch[HeaderSize:], plain)
	if len(stored)*MaxExpansion < len(plain) {
		// Repetitive beyond what a receiver accepts. The older encoding, a subset of s2, never shrinks by more than 22.
		stored = s2.EncodeSnappy(scratch[HeaderSize:], plain)
	}
	if len(stored) >= len(plain) {
		return b
	}
	compressed := Batch(scratch[:HeaderSize+len(stored)]).Clone()
	copy(compressed[:HeaderSize], b)
	compressed[offFlags] |= byte(FlagCompressed)
	binary.LittleEndian.PutUint32(compressed[offStoredLength:], uint32(len(stored)))
	binary.LittleEndian.PutUint32(compressed[offStoredCRC:], crc32.Checksum(stored, castagnoli))
	compressed.seal()
	return compressed
}

// Plain returns the batch with an uncompressed body, ready for iteration, with everything else unchanged. A batch that
// is not compressed is returned as it is, unchecked. Otherwise the result lies in buf if that has the capacity, or in a
// new buffer, at most MaxExpansion times as long as the stored body, and the decompressed body was checked against the
// checksum of the plain commands (ErrBodyChecksum).
func (b Batch) Plain(buf []byte) (Batch, error) {
	if b.Flags()&FlagBodyOmitted != 0 {
		return nil, fmt.Errorf("%w: the body was omitted", ErrNotPlain)
	}
	if b.Flags()&FlagCompressed == 0 {
		return b, nil
	}
	length, err := s2.DecodedLen(b.Body())
	if err != nil {
		return nil, fmt.Errorf("%w: compressed body: %w", ErrBadBatch, err)
	}
	if uint64(length) != uint64(b.PlainLength()) {
		return nil, fmt.Errorf("%w: compressed body: holds %d bytes, want the plain length %d", ErrBadBatch,
			length, b.PlainLength())
	}
	if cap(buf) < HeaderSize+length {
		buf = make([]byte, HeaderSize+length)
	}
	plain := Batch(buf[: HeaderSize+length : HeaderSize+length])
	if _, err := s2.Decode(plain[HeaderSize:], b.Body()); err != nil {
		return nil, fmt.Errorf("%w: compressed body: %w", ErrBadBatch, err)
	}
	if sum := crc32.Checksum(plain[HeaderSize:], castagnoli); sum != b.plainCRC() {
		return nil, fmt.Errorf("%w: plain body: shard %d, first index %d: computed %08x, stored %08x", ErrBodyChecksum,
			b.ShardID(), b.First(), sum, b.plainCRC())
	}
	copy(plain, b[:HeaderSize])
	plain[offFlags] &^= byte(FlagCompressed)
	binary.LittleEndian.PutUint32(plain[offStoredLength:], uint32(length))
	binary.LittleEndian.PutUint32(plain[offStoredCRC:], b.plainCRC())
	plain.seal()
	return plain, nil
}

// WithoutBody returns the batch's header alone, as it is sent to a witness. Lengths and checksums go on describing the
// body. A membership batch must be sent whole (R19).
func (b Batch) WithoutBody() Batch {
	header := b[:HeaderSize:HeaderSize].Clone()
	header[offFlags] |= byte(FlagBodyOmitted)
	header.seal()
	return header
}

// Cut returns a new batch, in memory of its own, with the entries from index from to index to, both included, of a
// stamped batch. The batch is verified first. The piece keeps the origin, with the offset of its first entry in the
// original proposal, and has new checksums. A piece of a compressed batch is uncompressed. A piece of a batch whose body
// was omitted has the lengths and checksums of the whole body: they cannot be known better.
//
// Errors: ErrBadBatch for a batch without a stamp, a range that is not within it, or a malformed body; ErrBodyChecksum.
func (b Batch) Cut(from, to uint64) (Batch, error) {
	if b.First() == 0 {
		return nil, fmt.Errorf("%w: cut: the batch is not stamped", ErrBadBatch)
	}
	if from < b.First() || to > b.Last() || from > to {
		return nil, fmt.Errorf("%w: cut: entries %d to %d, want a range within %d to %d", ErrBadBatch,
			from, to, b.First(), b.Last())
	}
	if err := b.Verify(); err != nil {
		return nil, err
	}
	if from == b.First() && to == b.Last() {
		return b.Clone(), nil
	}
	if b.Flags()&FlagBodyOmitted != 0 {
		piece := b.Clone()
		piece.movePiece(b, from, to)
		piece.seal()
		return piece, nil
	}
	plain, err := b.Plain(nil)
	if err != nil {
		return nil, err
	}
	start, end, err := plain.entryRange(from, to)
	if err != nil {
		return nil, err
	}
	var piece Batch
	if b.Flags()&FlagSessions != 0 {
		piece = plain.cutSessions(from, to, end-start)
	} else {
		piece = make(Batch, HeaderSize+end-start)
		copy(piece[HeaderSize:], plain[HeaderSize+start:HeaderSize+end])
	}
	copy(piece, plain[:HeaderSize])
	piece.movePiece(b, from, to)
	piece.sealPlainBody()
	return piece, nil
}

// cutSessions copies the entries from from to to, which take size bytes here, behind room for a header. Of the fields of the first one with a session
// nothing is left out that the entries before have told.
func (b Batch) cutSessions(from, to uint64, size int) Batch {
	const most = 1 + 3*binary.MaxVarintLen64 // by which that one may grow
	piece, last := make([]byte, HeaderSize, HeaderSize+size+most), SessionFields{}
	it := b.Iterator()
	for index := b.First(); index <= to && it.Next(); index++ {
		if index >= from {
			piece = AppendSessionEntry(piece, &last, it.Session(), it.Command())
		}
	}
	return piece[:len(piece):len(piece)]
}

// movePiece sets the fields that say which entries of whole a piece holds.
func (b Batch) movePiece(whole Batch, from, to uint64) {
	binary.LittleEndian.PutUint32(b[offCount:], uint32(to-from+1))
	binary.LittleEndian.PutUint64(b[offFirst:], from)
	binary.LittleEndian.PutUint32(b[offPiece:], whole.Origin().Piece+uint32(from-whole.First()))
}

// entryRange returns where in the body the entries from to to begin and end. It walks the whole body, so that a piece
// is never made of a malformed one.
func (b Batch) entryRange(from, to uint64) (start, end int, err error) {
	it := b.Iterator()
	for index := b.First(); ; index++ {
		if index == from {
			start = it.position
		}
		if !it.Next() {
			return start, end, it.Err()
		}
		if index == to {
			end = it.position
		}
	}
}
