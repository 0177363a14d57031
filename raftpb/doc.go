// Package raftpb holds the data that travels between replicas and is stored by them: batches of log entries, messages, and
// the records of a replica's state, each with its codec. It stands below every other package and does nothing by itself:
// no goroutine, no clock, no file.
//
// # Batches
//
// A Batch is a run of consecutive log entries framed together, once, where the client called. The same bytes are then sent
// to every follower, written to every log, kept in the cache, and handed to the state machines as sub-slices:
//
//	                   Builder.Add*, Seal     Compress?       Stamp(term, first)
//	commands ─────────► open batch ─────────► sealed batch ──────────────────────► stamped batch ─► send, write, apply
//	(copied once)                             (may be forwarded to the leader)     (immutable from here on)
//
// A Builder keeps room for the header in front of the commands, so that sealing moves nothing. Callers with an arena of
// their own use AppendEntry and SealArena. What arrives from a peer or a disk goes through ParseBatch, which checks the
// whole header (checksum, version, every field) and no byte of the body; Verify checks the body's checksum; an Iterator walks over
// the entries and reports a body that holds more or fewer than the header says. The accessors of Batch trust the header:
// they are for batches that were built or parsed here.
//
// # The header
//
// 96 bytes; integers are little endian; bits and bytes that are not named are 0 and are checked to be.
//
//	       0        1        2        3        4        5        6        7
//	   ┌────────┬────────┬────────┬────────┬────────┬────────┬────────┬────────┐
//	 0 │version │ kind   │ flags  │   0    │ count of entries                  │
//	   ├────────┴────────┴────────┴────────┴───────────────────────────────────┤
//	 8 │ shard                                                                 │
//	   ├───────────────────────────────────────────────────────────────────────┤
//	16 │ term of the stamp, 0 before it                                        │
//	   ├───────────────────────────────────────────────────────────────────────┤
//	24 │ index of the first entry, 0 before the stamp                          │
//	   ├───────────────────────────────────────────────────────────────────────┤
//	32 │ origin: replica whose host the client called                          │
//	   ├───────────────────────────────────────────────────────────────────────┤
//	40 │ origin: session of that replica's start                               │
//	   ├───────────────────────────────────────────────────────────────────────┤
//	48 │ origin: sequence, number of the batch in the session                  │
//	   ├───────────────────────────────────┬───────────────────────────────────┤
//	56 │ origin: piece, offset of the      │ origin: count of entries in the   │
//	   │ first entry in the original       │ original                          │
//	   ├───────────────────────────────────┴───────────────────────────────────┤
//	64 │ expected term: the only one to stamp it in, 0 for any                 │
//	   ├───────────────────────────────────┬───────────────────────────────────┤
//	72 │ stored length of the body         │ plain length of the body          │
//	   ├───────────────────────────────────┼───────────────────────────────────┤
//	80 │ CRC-32C of the stored body        │ CRC-32C of the plain body         │
//	   ├───────────────────────────────────┼───────────────────────────────────┤
//	88 │ 0                                 │ CRC-32C of bytes 0 to 91          │
//	   └───────────────────────────────────┴───────────────────────────────────┘
//	96   body: stored length bytes
//
// The header's checksum covers the body's checksums and lengths, so that a flipped bit in a term or an index is found as
// surely as one in a command. The stamp changes term and first index and computes the header's checksum anew; the body and its
// checksum, computed where the proposal entered, stay what they are from the client to the state machine.
//
// Stored and plain are the same unless FlagCompressed says that the body is one s2 block: then the stored checksum
// protects the block on wire and disk, and the plain one the commands that Plain decompresses. With FlagBodyOmitted the body
// is absent (a witness gets only headers) while lengths and checksums still describe it.
//
// # The body
//
// The entries, one after another. Their indexes are not written: the i-th has index first + i. Lengths and session fields
// are unsigned varints (base 128, least significant group first), at most 10 bytes each.
//
//	┌────────┬─────────────┐
//	│ length │ command ... │                                        without FlagSessions
//	└────────┴─────────────┘
//	┌─────────┬────────┬─────────────┐
//	│ session │ length │ command ... │                             with FlagSessions, every entry of the batch
//	└─────────┴────────┴─────────────┘
//
// session is 0 for an entry that has none. 1 is followed by client ID, series and the difference of series and responded. 2 + n is the next call of the
// client of the entry before (of the last one that has a session), with a responded that is n higher: that is how a client's calls come, mostly,
// and they take one byte instead of fourteen. In every batch, pieces included, the first entry with a session has it whole.
//
// A no-op is one entry of length 0. A membership batch is one entry, an encoded Membership.
//
// # Pieces
//
// A batch can be cut at any entry boundary, when a log conflict begins inside it or for a limit of size. Cut verifies the
// old checksum before it makes a new one. The piece keeps the origin's replica, session, sequence and count; its piece
// offset says where in the original it begins, so that a completion reaches the right waiters and no others.
//
// # Messages
//
// Messages travel as a protobuf MessageBatch, whose schema is schema/flotilla.proto. For speed its codec is written by hand
// here; tests hold it against the generated one. A batch is an opaque bytes field:
//
//	MessageBatch           0A len Message, 0A len Message, ...
//	Message                08 type, 10 shard, 18 from, 20 to, ..., 72 len batch, 72 len batch, ..., 79 time, ...
//
// Since repeated fields add up, AppendMessage extends a frame message by message. AppendMessageSplit leaves large batches out
// of the frame's buffer, for writev to send them from where they are; the bytes on the wire are the same. A Decoder reads
// frames into lists that it uses again.
//
// # Who owns the bytes
//
//   - Until the stamp, a batch belongs to whoever builds it; Seal takes the arena away from the builder. Compress comes before the
//     stamp. Stamp writes into the header, so its caller must be the only reader.
//   - From the stamp on, nobody changes a byte. Cut, WithoutBody and Plain of a compressed batch make new ones. The memory may
//     be used again only when no queue, connection, writer, cache or state machine can still read it.
//   - Decoded messages alias the buffer that they were received in, and keep its capacity: the log cache computes a batch's
//     offset in its chunk from the difference of capacities. So nobody may append to a Batch or a Payload. What must outlive
//     its chunk is cloned.
//   - An EntryIterator hands out commands that alias the batch, with capacity equal to length: an append by a state machine
//     copies instead of overwriting the next command. They are read-only all the same.
//   - Memberships, bootstraps and config records are decoded into memory of their own.
//
// # Hostile input
//
// Every decoder returns an error that wraps a sentinel (ErrBadBatch, ErrHeaderChecksum, ErrBodyChecksum, ErrNotPlain,
// ErrBadMessage, ErrBadRecord) and names the field, for any bytes whatever. None panics, and none allocates more than a small
// multiple of its input: lists grow with the elements that are present, and a compressed body may claim to be at most
// MaxExpansion times longer than it is. Each has a native fuzz target.
package raftpb
