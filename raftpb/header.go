package raftpb

import (
	"encoding/binary"
	"hash/crc32"
)

// HeaderSize is the length in bytes of the fixed header in front of every batch.
const HeaderSize = 96

// HeaderVersion is the version of the batch layout that this package writes and reads.
const HeaderVersion = 1

// Offsets of the header's fields. The layout is drawn in doc.go; all integers are little endian.
const (
	offVersion      = 0
	offKind         = 1
	offFlags        = 2
	offReserved     = 3
	offCount        = 4
	offShard        = 8
	offTerm         = 16
	offFirst        = 24
	offReplica      = 32
	offSession      = 40
	offSequence     = 48
	offPiece        = 56
	offOriginCount  = 60
	offExpectedTerm = 64
	offStoredLength = 72
	offPlainLength  = 76
	offStoredCRC    = 80
	offPlainCRC     = 84
	offReserved2    = 88
	offHeaderCRC    = 92
)

// Limits of a batch. ParseBatch refuses what is beyond them; whoever builds batches keeps below them (the engine's own
// limits on commands and batches are far lower).
const (
	// MaxBatchEntries is the highest number of entries in a batch.
	MaxBatchEntries = 1 << 24
	// MaxPlainLength is the greatest length in bytes of a body, before compression and after it.
	MaxPlainLength = 128 << 20
	// MaxExpansion bounds PlainLength / StoredLength of a compressed body, so that a few received bytes cannot ask for
	// a large buffer. Compress keeps to it.
	MaxExpansion = 64
)

// Kind says what the entries of a batch are.
type Kind uint8

const (
	// KindCommands carries users' commands.
	KindCommands Kind = 1
	// KindNoOp is the single empty entry that a new leader appends in its term.
	KindNoOp Kind = 2
	// KindMembership carries one encoded Membership and is always a batch of its own (R17).
	KindMembership Kind = 3
	// KindSession opens or closes a client session.
	KindSession Kind = 4
	// KindAudit carries a state hash that replicas compare.
	KindAudit Kind = 5
)

// Flags of a batch.
type Flags uint8

const (
	// FlagCompressed marks a body that is stored as one s2 block.
	FlagCompressed Flags = 1 << 0
	// FlagSessions marks a body whose entries carry client session fields.
	FlagSessions Flags = 1 << 1
	// FlagBodyOmitted marks a header that travels without its body (witnesses). The body's
	// length and checksums still describe the body that was left out.
	FlagBodyOmitted Flags = 1 << 2

	knownFlags = FlagCompressed | FlagSessions | FlagBodyOmitted
)

// Origin names the proposal that a batch came from. A completion matches only if all five fields are
// equal (R1): a replica that restarted, or a batch that was cut, never completes somebody else's waiters.
type Origin struct {
	Replica  uint64 // replica on whose host the client called
	Session  uint64 // session of that replica's start, random
	Sequence uint64 // number of the batch within the session, from 1
	Piece    uint32 // offset of the first entry within the original batch
	Count    uint32 // entries in the original batch
}

// Batch is a run of consecutive log entries framed together: a 96 byte header followed by the body. It is
// the unit of append, send, write, cache and apply. The same bytes are held in memory, on the wire and on
// disk. A Batch is immutable from the leader's Stamp on (R4).
//
// The accessors read fixed offsets and assume a header that ParseBatch accepted or a Builder made.
type Batch []byte

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Kind returns what the entries are.
func (b Batch) Kind() Kind { return Kind(b[offKind]) }

// Flags returns the batch's flags.
func (b Batch) Flags() Flags { return Flags(b[offFlags]) }

// Count returns the number of entries.
func (b Batch) Count() uint32 { return binary.LittleEndian.Uint32(b[offCount:]) }

// ShardID returns the shard that the batch belongs to.
func (b Batch) ShardID() uint64 { return binary.LittleEndian.Uint64(b[offShard:]) }

// Term returns the term in which a leader stamped the batch, 0 before that.
func (b Batch) Term() uint64 { return binary.LittleEndian.Uint64(b[offTerm:]) }

// First returns the index of the first entry, 0 before the stamp.
func (b Batch) First() uint64 { return binary.LittleEndian.Uint64(b[offFirst:]) }

// Last returns the index of the last entry.
func (b Batch) Last() uint64 { return b.First() + uint64(b.Count()) - 1 }

// Origin returns the proposal that the batch came from.
func (b Batch) Origin() Origin {
	return Origin{
		Replica:  binary.LittleEndian.Uint64(b[offReplica:]),
		Session:  binary.LittleEndian.Uint64(b[offSession:]),
		Sequence: binary.LittleEndian.Uint64(b[offSequence:]),
		Piece:    binary.LittleEndian.Uint32(b[offPiece:]),
		Count:    binary.LittleEndian.Uint32(b[offOriginCount:]),
	}
}

// ExpectedTerm returns the only term in which a leader may stamp the batch, 0 for any.
func (b Batch) ExpectedTerm() uint64 { return binary.LittleEndian.Uint64(b[offExpectedTerm:]) }

// StoredLength returns the length in bytes of the body as stored (compressed, if it is).
func (b Batch) StoredLength() uint32 { return binary.LittleEndian.Uint32(b[offStoredLength:]) }

// PlainLength returns the length in bytes of the body once decompressed.
func (b Batch) PlainLength() uint32 { return binary.LittleEndian.Uint32(b[offPlainLength:]) }

// Body returns the stored body, which aliases the batch. It is empty when the body was omitted.
func (b Batch) Body() []byte { return b[HeaderSize:len(b):len(b)] }

// Stamp writes the leader's term and the index of the first entry and recomputes the header's checksum.
// The caller must be the batch's only reader.
func (b Batch) Stamp(term, first uint64) {
	binary.LittleEndian.PutUint64(b[offTerm:], term)
	binary.LittleEndian.PutUint64(b[offFirst:], first)
	b.seal()
}

func (b Batch) seal() {
	binary.LittleEndian.PutUint32(b[offHeaderCRC:], crc32.Checksum(b[:offHeaderCRC], castagnoli))
}
