package raftpb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

var (
	// ErrBadBatch says that bytes are no batch: a field of the header, or the structure of the body, is wrong. The
	// error names the field, its value and what is accepted.
	ErrBadBatch = errors.New("raftpb: bad batch")
	// ErrHeaderChecksum says that a header does not match its checksum. It is an ErrBadBatch too.
	ErrHeaderChecksum = fmt.Errorf("%w: header checksum mismatch", ErrBadBatch)
	// ErrBodyChecksum says that a body does not match the checksum in its header: the batch was damaged since it was
	// built (R4).
	ErrBodyChecksum = errors.New("raftpb: body checksum mismatch")
	// ErrNotPlain says that a batch has no entries to iterate over as it stands: its body is compressed (Plain
	// decompresses it) or was omitted.
	ErrNotPlain = errors.New("raftpb: batch has no plain body")
)

// ParseBatch checks the header of data, which must be exactly one batch, and returns data as a Batch: same length, same
// capacity, nothing copied. The body is not looked at; Verify checks it. Errors are ErrBadBatch, or ErrHeaderChecksum.
func ParseBatch(data []byte) (Batch, error) {
	size, err := parseHeader(data)
	if err != nil {
		return nil, err
	}
	if len(data) != size {
		return nil, fmt.Errorf("%w: length: %d bytes, want exactly %d", ErrBadBatch, len(data), size)
	}
	return Batch(data), nil
}

// NextBatch splits the first batch off data, which holds batches one after another, and returns what follows it.
// Neither is copied; the batch keeps the capacity of data.
func NextBatch(data []byte) (b Batch, rest []byte, err error) {
	size, err := parseHeader(data)
	if err != nil {
		return nil, nil, err
	}
	if len(data) < size {
		return nil, nil, fmt.Errorf("%w: length: %d bytes, want at least %d", ErrBadBatch, len(data), size)
	}
	return Batch(data[:size]), data[size:], nil
}

// parseHeader checks everything that the header alone can tell and returns the length of the whole batch. The version
// comes first, since another one may have another layout; then the checksum, so that damage is reported as damage and a
// wrong field below it as the work of a program.
func parseHeader(data []byte) (size int, err error) {
	if len(data) < HeaderSize {
		return 0, fmt.Errorf("%w: length: %d bytes, want at least the header's %d", ErrBadBatch, len(data), HeaderSize)
	}
	if data[offVersion] != HeaderVersion {
		return 0, fmt.Errorf("%w: version: %d, want %d", ErrBadBatch, data[offVersion], HeaderVersion)
	}
	stored := binary.LittleEndian.Uint32(data[offHeaderCRC:])
	if sum := crc32.Checksum(data[:offHeaderCRC], castagnoli); sum != stored {
		return 0, fmt.Errorf("%w: computed %08x, stored %08x", ErrHeaderChecksum, sum, stored)
	}
	b := Batch(data)
	if err := b.checkPosition(); err != nil {
		return 0, err
	}
	if err := b.checkLengths(); err != nil {
		return 0, err
	}
	if b.Flags()&FlagBodyOmitted != 0 {
		return HeaderSize, nil
	}
	return HeaderSize + int(b.StoredLength()), nil
}

// checkPosition checks kind, flags, reserved bytes, and where the entries stand in the log and in their proposal.
func (b Batch) checkPosition() error {
	if b.Kind() < KindCommands || b.Kind() > KindAudit {
		return fmt.Errorf("%w: kind: %d, want %d to %d", ErrBadBatch, b.Kind(), KindCommands, KindAudit)
	}
	if b.Flags()&^knownFlags != 0 {
		return fmt.Errorf("%w: flags: %#x, want only bits of %#x", ErrBadBatch, uint8(b.Flags()), uint8(knownFlags))
	}
	if b[offReserved] != 0 || binary.LittleEndian.Uint32(b[offReserved2:]) != 0 {
		return fmt.Errorf("%w: reserved: %#x and %#x, want 0", ErrBadBatch,
			b[offReserved], binary.LittleEndian.Uint32(b[offReserved2:]))
	}
	count := b.Count()
	if count == 0 || count > MaxBatchEntries {
		return fmt.Errorf("%w: count: %d, want 1 to %d", ErrBadBatch, count, MaxBatchEntries)
	}
	if (b.Term() == 0) != (b.First() == 0) {
		return fmt.Errorf("%w: term and first index: %d and %d, want both 0 or neither", ErrBadBatch, b.Term(), b.First())
	}
	if b.First() > math.MaxUint64-uint64(count) {
		return fmt.Errorf("%w: first index: %d, want at most %d with %d entries", ErrBadBatch,
			b.First(), math.MaxUint64-uint64(count), count)
	}
	piece := binary.LittleEndian.Uint32(b[offPiece:])
	total := binary.LittleEndian.Uint32(b[offOriginCount:])
	if uint64(piece)+uint64(count) > uint64(total) {
		return fmt.Errorf("%w: origin count: %d, want at least %d (%d entries at piece offset %d)", ErrBadBatch,
			total, uint64(piece)+uint64(count), count, piece)
	}
	return nil
}

// checkLengths checks the description of the body for what is possible.
func (b Batch) checkLengths() error {
	stored, plain := b.StoredLength(), b.PlainLength()
	if plain > MaxPlainLength {
		return fmt.Errorf("%w: plain length: %d, want at most %d", ErrBadBatch, plain, MaxPlainLength)
	}
	if least := uint64(b.Count()) * uint64(b.leastEntry()); uint64(plain) < least {
		return fmt.Errorf("%w: plain length: %d, want at least %d for %d entries", ErrBadBatch, plain, least, b.Count())
	}
	if b.Flags()&FlagCompressed != 0 {
		if stored > MaxPlainLength {
			return fmt.Errorf("%w: stored length: %d, want at most %d", ErrBadBatch, stored, MaxPlainLength)
		}
		if uint64(plain) > uint64(stored)*MaxExpansion {
			return fmt.Errorf("%w: plain length: %d, want at most %d times the stored %d", ErrBadBatch,
				plain, MaxExpansion, stored)
		}
		return nil
	}
	if stored != plain {
		return fmt.Errorf("%w: stored length: %d, want the plain %d of an uncompressed body", ErrBadBatch, stored, plain)
	}
	if b.storedCRC() != b.plainCRC() {
		return fmt.Errorf("%w: stored checksum: %08x, want the plain %08x of an uncompressed body", ErrBadBatch,
			b.storedCRC(), b.plainCRC())
	}
	return nil
}

// leastEntry returns the fewest bytes that an entry can take: its length and, if there are any, its session fields, of which one byte may be all.
func (b Batch) leastEntry() uint32 {
	if b.Flags()&FlagSessions != 0 {
		return 2
	}
	return 1
}

func (b Batch) storedCRC() uint32 { return binary.LittleEndian.Uint32(b[offStoredCRC:]) }

func (b Batch) plainCRC() uint32 { return binary.LittleEndian.Uint32(b[offPlainCRC:]) }

// Verify checks the stored body against its checksum; the error is ErrBodyChecksum. Every replica calls it before it
// writes a batch that it received and again when it reads one back (R4, R5). There is nothing to check when the body
// was omitted. Verify says nothing about the entries inside; see VerifyEntries.
func (b Batch) Verify() error {
	if b.Flags()&FlagBodyOmitted != 0 {
		return nil
	}
	if sum := crc32.Checksum(b[HeaderSize:], castagnoli); sum != b.storedCRC() {
		return fmt.Errorf("%w: shard %d, first index %d: computed %08x, stored %08x", ErrBodyChecksum,
			b.ShardID(), b.First(), sum, b.storedCRC())
	}
	return nil
}

// VerifyEntries checks that a plain body holds exactly Count entries. A leader does so before it stamps a batch that
// another host built: from the stamp on, every replica will apply what is in it.
func (b Batch) VerifyEntries() error {
	it := b.Iterator()
	for it.Next() {
	}
	return it.Err()
}
