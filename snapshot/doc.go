// Package snapshot reads and writes snapshot files and keeps them in a directory.
//
// # A file
//
// Numbers are little-endian; C is a CRC-32C.
//
//	header   ┌──────────┬─────────┬──────────┬────────┬───────────────────────────────┬───┐
//	         │ FLTLSNAP │ version │ reserved │ length │ metadata: raftpb.SnapshotMeta │ C │  C over everything before it
//	         └────8─────┴────2────┴────2─────┴───4────┴───────────────────────────────┴─4─┘
//	blocks   ┌──────┬───────┬──────────┬────────┬───────┬───┬────────────────┐
//	  n      │ kind │ flags │ reserved │ stored │ plain │ C │ stored bytes   │               C over the 12 bytes and the stored ones
//	         └──1───┴───1───┴────2─────┴───4────┴───4───┴─4─┴────────────────┘
//	footer   ┌──────┬────────┬────────┬─────────┬───┬──────────┐
//	         │ 0xff │ blocks │ plain  │ digest  │ C │ FLTLDONE │                             C over the footer before it
//	         └──1───┴───8────┴───8────┴───32────┴─4─┴────8─────┘
//
// Blocks of one kind that follow each other are one section, cut anywhere: sessions (1), state (2), and for each external file its name
// (3), always one block, and its content (4). The flag 1 says that the stored bytes are compressed with zstd; a block that would not shrink is stored
// plain. The digest in the footer covers every byte in front of it, by way of a sum of each block (digest.go; in
// version 1 directly): with it a file that was copied, exported or streamed is known to be the one that was written. Version 2 is written, 1 is read, too.
// The header is of this shape in every version: a version that is not known is believed, and refused by name, only if the header's checksum holds.
//
// Copy writes a snapshot anew with other metadata, which is how one is given to other members.
//
// A reader hands out no byte of a block whose checksum it has not checked, and reports the end of the last section only after
// the footer has agreed with all that was read. Names of external files are labels: they are never used as paths.
//
// # A directory
//
// Directory keeps the snapshots of all replicas of a host, so that those which are finished together share one sync of it. A snapshot is
// written beside, synced, renamed, and the directory is synced: it is there whole or not at all. What a crash left of an
// unfinished one is removed when the directory is opened.
//
//	snapshot-<shard>-<replica>-<index>   a whole snapshot; 16 hexadecimal digits each
//	pending-<number>                     one that is being taken or received
//
// # Who owns what
//
// A Writer and a Reader belong to one goroutine. A Directory may be used by several.
package snapshot
