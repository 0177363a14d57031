package raftpb

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/flotilla-raft/flotilla/internal/invariant"
)

// Builder collects commands into the body of a batch. The commands are copied into one arena, whose first HeaderSize
// bytes are kept free for the header, so that sealing moves nothing.
//
// The zero value must be Reset before use. A Builder is not safe for concurrent use.
type Builder struct {
	arena []byte
	count uint32
}

// Reset begins a new batch in buf, which the builder owns from here on; its contents are overwritten and it is replaced
// by a larger one when it is full. A nil buf is fine.
func (b *Builder) Reset(buf []byte) {
	b.arena = newArena(buf)
	b.count = 0
}

// Add copies command to the end of the batch.
func (b *Builder) Add(command []byte) {
	b.arena = AppendEntry(b.arena, command)
	b.count++
}

// Count returns the number of entries added since Reset.
func (b *Builder) Count() int { return int(b.count) }

// Size returns the length in bytes of the batch so far, header included.
func (b *Builder) Size() int { return len(b.arena) }

// Seal makes the batch; see SealArena. The batch aliases the arena and the builder lets go of it: Reset comes next.
func (b *Builder) Seal(shard uint64, kind Kind, origin Origin, expectedTerm uint64) Batch {
	batch := SealArena(b.arena, b.count, shard, kind, origin, expectedTerm)
	b.arena, b.count = nil, 0
	return batch
}

// SessionBuilder is a Builder whose entries carry client session fields (FlagSessions).
type SessionBuilder struct {
	arena []byte
	count uint32
	last  SessionFields
}

// Reset begins a new batch in buf; see Builder.Reset.
func (b *SessionBuilder) Reset(buf []byte) {
	b.arena = newArena(buf)
	b.count, b.last = 0, SessionFields{}
}

// Add copies command and its session fields to the end of the batch.
func (b *SessionBuilder) Add(fields SessionFields, command []byte) {
	b.arena = AppendSessionEntry(b.arena, &b.last, fields, command)
	b.count++
}

// Count returns the number of entries added since Reset.
func (b *SessionBuilder) Count() int { return int(b.count) }

// Size returns the length in bytes of the batch so far, header included.
func (b *SessionBuilder) Size() int { return len(b.arena) }

// Seal makes the batch; see Builder.Seal.
func (b *SessionBuilder) Seal(shard uint64, kind Kind, origin Origin, expectedTerm uint64) Batch {
	batch := SealSessionArena(b.arena, b.count, shard, kind, origin, expectedTerm)
	b.arena, b.count = nil, 0
	return batch
}

func newArena(buf []byte) []byte {
	var header [HeaderSize]byte
	return append(buf[:0], header[:]...)
}

// AppendEntry appends one entry without session fields to an arena that its caller keeps: HeaderSize bytes for the
// header, then the entries. SealArena makes a batch of it.
func AppendEntry(arena, command []byte) []byte {
	if len(command) < 0x80 {
		arena = append(arena, byte(len(command)))
	} else {
		arena = appendLongLength(arena, len(command))
	}
	return append(arena, command...)
}

// appendLongLength is kept out of AppendEntry so that the compiler inlines the latter at its callers.
//
//go:noinline
func appendLongLength(arena []byte, length int) []byte {
	return binary.AppendUvarint(arena, uint64(length))
}

// SealArena writes the header, with both checksums, in front of the count entries that arena holds after its first
// HeaderSize bytes. The batch is unstamped: its term and first index are 0. It aliases the arena, whose owner must not
// touch it again.
//
// An origin.Count of 0 stands for count; otherwise the batch is the piece of a larger proposal that begins at
// origin.Piece. It is the caller's duty that arena holds exactly count entries, at least one, within MaxBatchEntries and
// MaxPlainLength.
func SealArena(arena []byte, count uint32, shard uint64, kind Kind, origin Origin, expectedTerm uint64) Batch {
	return sealArena(arena, count, 0, shard, kind, origin, expectedTerm)
}

// SealSessionArena is SealArena for an arena whose entries were appended by AppendSessionEntry.
func SealSessionArena(arena []byte, count uint32, shard uint64, kind Kind, origin Origin, expectedTerm uint64) Batch {
	return sealArena(arena, count, FlagSessions, shard, kind, origin, expectedTerm)
}

func sealArena(
	arena []byte, count uint32, flags Flags, shard uint64, kind Kind, origin Origin, expectedTerm uint64,
) Batch {
	if len(arena) <= HeaderSize || len(arena)-HeaderSize > MaxPlainLength || count == 0 || count > MaxBatchEntries {
		invariant.Fail("sealing a batch of %d entries in %d bytes", count, len(arena))
	}
	if origin.Count == 0 {
		origin.Count = count
	}
	if uint64(origin.Piece)+uint64(count) > uint64(origin.Count) {
		invariant.Fail("sealing %d entries as the piece at %d of %d", count, origin.Piece, origin.Count)
	}
	b := Batch(arena[:len(arena):len(arena)])
	clear(b[:HeaderSize])
	b[offVersion] = HeaderVersion
	b[offKind] = byte(kind)
	b[offFlags] = byte(flags)
	binary.LittleEndian.PutUint32(b[offCount:], count)
	binary.LittleEndian.PutUint64(b[offShard:], shard)
	binary.LittleEndian.PutUint64(b[offReplica:], origin.Replica)
	binary.LittleEndian.PutUint64(b[offSession:], origin.Session)
	binary.LittleEndian.PutUint64(b[offSequence:], origin.Sequence)
	binary.LittleEndian.PutUint32(b[offPiece:], origin.Piece)
	binary.LittleEndian.PutUint32(b[offOriginCount:], origin.Count)
	binary.LittleEndian.PutUint64(b[offExpectedTerm:], expectedTerm)
	b.sealPlainBody()
	return b
}

// sealPlainBody describes an uncompressed body in the header and ends with the header's checksum.
func (b Batch) sealPlainBody() {
	body := b.Body()
	sum := crc32.Checksum(body, castagnoli)
	binary.LittleEndian.PutUint32(b[offStoredLength:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[offPlainLength:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[offStoredCRC:], sum)
	binary.LittleEndian.PutUint32(b[offPlainCRC:], sum)
	b.seal()
}
