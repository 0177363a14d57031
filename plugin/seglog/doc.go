// Package seglog is a LogDB on segment files: one stream of group commits for all replicas of a host.
//
// # What is believed of a disk
//
//   - A write may reach the disk in any part and in any order until a sync of its file has returned nil; a name, until a sync of its directory
//     has. Blocks are 4 KiB and aligned; nothing is assumed of what a torn write leaves in those that it was to fill, but that other
//     blocks stay as they were. Nothing that was acknowledged shares a block with anything that is written later.
//   - A sync that fails says nothing about what is on the disk, and neither does a later one that succeeds. What is read back may stand in
//     the page cache alone.
//   - What was written may come back changed, or not at all, or may be what an earlier life of the file held. Checksums find that; they are not
//     meant to withstand an adversary.
//   - A rename is one step: after a power cut a file has the one name or the other.
//
// # Files
//
//	FORMAT                   what the directory is: version, owner
//	LANES                    which of several lanes this is; none if there is one
//	LOCK                     held by the process that has the store open
//	0000000000000007.seg     a segment: part of the stream, or prepared to be the next
//	0000000000000003.spare   a file whose blocks were all written before, to be a segment again
//	0000000000000009.tmp     in the making; removed when the store is opened
//
// The number of a segment is the generation of its file. It is never used again, stands in every header, and is part of every checksum of a record's
// header: what an earlier life of a file left in its blocks is never taken for something new.
//
//	segment   ┌────────┬───────┬───────┬─ ─ ─ ─┬───────┬─ ─ ─ ─ ─┬────────┬─ ─ ─┬─────────┐
//	          │ header │ group │ group │       │ group │         │ footer │     │ trailer │
//	          └────────┴───────┴───────┴─ ─ ─ ─┴───────┴─ ─ ─ ─ ─┴────────┴─ ─ ─┴─────────┘
//	          block 0   each begins at a block            written when the      last block
//	                                                      segment is full       of the file
//
// Integers are little endian; what is not named is 0. Headers of segments, groups and trailers are 64 bytes:
//
//	       0        1        2        3        4        5        6        7
//	   ┌───────────────────────────────────────────────────────────────────────┐
//	 0 │ magic                                                                 │
//	   ├───────────────────────────────────┬─────────────────┬─────────────────┤
//	 8 │ CRC-32C of bytes 12 to 63         │ version         │ 0               │
//	   ├───────────────────────────────────┴─────────────────┴─────────────────┤
//	16 │ number of the segment                                                 │
//	   └───────────────────────────────────────────────────────────────────────┘
//	        segment               group                        trailer
//	24      first group           block in the file, length    block of the footer, its length
//	32      segment replaced      number of the group          first group
//	40      floor                 durable                      last group
//	48                            floor                        CRC-32C of the footer
//	56                            records
//
// Groups are numbered from 1 on without a gap. *durable* is the last group that was known durable when this one was written, *floor* the first
// that is still needed. A record is 40 bytes and a body, padded to a multiple of 8:
//
//	       0        1        2        3        4        5        6        7
//	   ┌───────────────────────────────────┬───────────────────────────────────┐
//	 0 │ CRC-32C of bytes 4 to 39 and of   │ kind (4 bits), length of the body │
//	   │ segment and offset                │ (28 bits)                         │
//	   ├───────────────────────────────────┴───────────────────────────────────┤
//	 8 │ shard                                                                 │
//	   ├───────────────────────────────────────────────────────────────────────┤
//	16 │ replica                                                               │
//	   ├───────────────────────────────────┬───────────────────────────────────┤
//	24 │ checksum of the body              │ 1 if the replica's last in the    │
//	   │                                   │ group, else 0                     │
//	   ├───────────────────────────────────┴───────────────────────────────────┤
//	32 │ previous: the replica's record before this one, as number of its      │
//	   │ group (48 bits) and ordinal of the replica's records there (16 bits)  │
//	   └───────────────────────────────────────────────────────────────────────┘
//	40   body
//
// The body of a save is a byte of flags, the hard state (three varints) and the index truncated from (a varint) if there, and a batch, byte by
// byte as it was saved. A batch has checksums of its own, so the record's covers only what is before it and its header.
// Other bodies are encodings of package raftpb, or two varints (compaction), or text (damage).
//
// A log that begins anew behind a snapshot is three records of one group: the snapshot's, which removes the log, a compaction and a configuration.
// The first stays until an empty record of the same kind says that the state machine has recovered; moved, it removes nothing.
//
// # The way of a write
//
//	step workers ─ Group.Save ─► records, encoded
//	Commit ──────► copied into the group commit that waits          while the disk may be busy with the one before
//	step ────────► places, chains, checksums of headers; one write, one sync; the index; done of every Commit, in order
//
// A Commit of one large group is not copied: its memory is taken and the group gets another.
//
// The step belongs to whoever has set Store.stepping: the committer itself if the write is small and nothing else is under way, otherwise the writer's
// goroutine. That one leaves done to the completer and writes the next group meanwhile, since whoever is told may gather and copy the next Commit
// at once. All others wait until the completer is at rest before they complete anything, or leave it to the completer, and so does a failure before
// it is told: so done is called in order, whoever calls it. Opening, the keeper and RunOnce use the same step. The index is changed after the sync and
// before done, from the records in the buffer that was written: the code that builds it again when the store is opened is the same.
//
// Hard states that nobody waits for (a commit index that moved) are seen at once and rest in memory until something else is written, or
// the writer is idle. That keeps the promise: such a Commit is durable no later than the next one that syncs.
//
// # What is in memory
//
// For each replica its hard state, what it was compacted up to, where bootstrap and configurations are, and 32 bytes for each batch: first index, term, count,
// segment, offset, length. No bytes of batches: the log cache has those that matter. With room that is kept for more, a batch takes at most 64 bytes, and
// a replica without batches at most 200, its part of the map included; after a restart no room is kept (runs.go, rare.go).
//
// # Segments come and go
//
// A segment is sealed when the next group, the footer and the trailer have no room in it: its groups are synced, then footer and trailer are written and synced,
// and only then is the next segment begun. So a segment that was begun bears witness that all before it was durable.
// The footer says what each record does to the index, without the body; opening reads footers instead of segments.
//
// The next segment is prepared beforehand, its blocks written and its name durable. A file that was a segment is taken first: overwriting blocks that
// were written before costs no journal commit. Up to three of them are kept while somebody writes; when nobody does, none above the limit below.
// The keeper is woken with each segment that is begun, and gets the writer before the next group: so segments are given back as fast as they are filled.
// Else a new file is filled with zeros by the keeper, once the active segment is half full, four times as fast as that goes on. If neither is
// ready the segment grows as it is written, which makes every sync wait for the file system's journal. So the keeper makes haste then if the groups are small,
// as with the first segment of a store that has little to do, and the writer leaves a segment that grows as soon as the next is ready, if not half of it is written.
//
// Space is given back from the front of the stream, strictly in order: when the segments take more than one and a half times what is live and two segments more (one,
// when the writer is idle), the keeper repeats what is live of the oldest one at the end of the stream, in pieces and at a bounded rate, looks
// through the whole index that nothing refers to the segment any more, reads back what it wrote, writes a group with a higher floor, syncs it, and only then gives the file
// back. Order is what makes this simple: what a truncation, compaction or removal made dead is older than the record that says so, so it is gone
// first, and nothing has to be kept to hold it down. The price is that a log which is long and never compacted is moved once in each round of the stream.
//
// What is moved stands close together, many batches of many replicas in one group: so the padding goes that small Commits leave behind them, which may be sixteen times
// what they hold. A round moves everything that is live, so only what has died or never lived pays for one (Store.toClean), and padding in full only while
// Commits waste little. Small segments do not reach the limit: each has a header, a trailer, and records that bear witness of what was moved.
//
// # Lanes
//
// A host with several devices has a store like this on each of them (OpenLanes): lanes, which write and sync side by side. Each shard is in one lane, and
// what the lanes hold says which. A file LANES in each directory says which lane it is, so that a device that is not there, or another one, is noticed.
//
//	Commit ─┬─► part of lane 0 ─► Store ─┐
//	        └─► part of lane 1 ─► Store ─┴─► done, when both are, in the order of the Commits
//
// Atomic is what a Commit holds of one lane: nothing in the engine needs more, since a replica is in one lane.
//
// # Opening
//
// Footers are read, or, where there is none that can be, the segment; the last segment is read whole. What is whole in that one is copied into
// a new file, under the same group numbers, sealed, synced, renamed and read back, and the original given back; the copy's header says what it
// replaces, so both may be found. Then a segment is begun and its header synced; only now are the files given back that the copy replaces, and those of
// segments that were emptied before: until the new header says durably where the stream begins, they are part of it. So nothing is believed that may stand in a page cache alone (R9), and what a power
// cut tore off can never come back.
//
// # Torn or damaged
//
// A group that is not whole in the last segment is the torn end of the stream, unless something written later says that it was durable: the durable field of a
// group behind it, the trailer, the next segment (R11). The writer adds an empty group when it has been idle for a moment, so that the last one soon
// has a witness. Whatever else cannot be read is damage:
//
//   - A record whose header can be read says whose it is: that replica is out of service (logdb.ErrDamaged), and the others of the group go on.
//   - If the header cannot be read either, the next record of that replica, whichever that is, names a predecessor that was not found.
//     So every replica with a hole is found, and no other is concerned; and since the last record of a replica in a group says so, one that
//     lost a part of its newest group. What this cannot see is the loss of all that a replica had in its newest groups, or of
//     all that it had: that is missed by what is remembered outside the store (R14).
//     What is moved may be older than that remembers, and the only copy: so the group with the higher floor has an empty record of each replica of
//     which nothing newer was written, at a distance of a block.
//     A replica's records within a group are numbered up to 65,535; behind that only batches are known to be missing, since they do not follow each other.
//   - What was found is written down as a record of its own, so that it is still known when the damaged segment is gone. It ends with Remove.
//   - Batches are checked when Load or Read meets them, twice, and what is damaged then is written down too: if it was the end of the stream that the
//     disk has lost, a restart might take it for torn.
//
// # Failures
//
// The first write or sync that fails, the keeper's too, is for ever (R9): it is latched while the writer is owned and the completer at rest, the
// Commits of that group and all later ones end with logdb.ErrFailed, and nothing is written any more. A full disk is such a failure, save while a file
// is only being filled with zeros. Also if it is the sync that says so, as where blocks are found only when the page cache is written back: which of
// them were written is not known then, and the system may believe them clean. The reserve (R10) is there so that it does not come to that. Reads go on.
//
// # Locks and goroutines
//
// All goroutines start in background.go: the writer's, the completer's, the keeper's, and one that tells the owner of a failure. With Options.Manual
// there are none, and the owner calls RunOnce. Store says in which order its locks are taken. The index is changed by the owner of the step alone.
//
// # Reading the source
//
// format.go and record.go say what is written, group.go and commit.go how it is gathered, writer.go when it is written, index.go, runs.go and rare.go what is remembered of it; recover.go,
// scan.go and copy.go how a directory is opened; keeper.go, pool.go and move.go what goes on beside; lanes.go,
// lane_table.go and lane_group.go what makes one store of several.
package seglog
