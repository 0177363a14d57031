// Package pebblelog is the LogDB on Pebble: one store per host, shared by all its replicas.
//
// # Keys and values
//
// Numbers in keys are big endian, so that keys sort by (shard, replica, index). B is a batch as it was received or
// made, byte for byte; R is the encoding of a record in package raftpb; C a CRC-32C, little endian, over the key and R.
//
//	 1 B  8 B     8 B        8 B                  value
//	┌───┬───────┬─────────┬────────────┐
//	│'b'│ shard │ replica │ last index │           B              a batch, with checksums of its own
//	└───┴───────┴─────────┴────────────┘
//	┌───┬───────┬─────────┬───┐
//	│'r'│ shard │ replica │ 1 │                    R C            bootstrap
//	│'r'│ shard │ replica │ 2 │                    R C            hard state
//	│'r'│ shard │ replica │ 3 │                    index term C   compaction, two 8 byte numbers, little endian
//	│'r'│ shard │ replica │ 4 │ index (8 B)        R C            a membership
//	│'r'│ shard │ replica │ 5 │                    R C            the snapshot being installed
//	└───┴───────┴─────────┴───┘
//
// A batch is keyed by its last index, not by its first, so that nothing has to be read in order to write:
//
//   - what ends at or below an index is one range of keys, whatever the batches' borders are (Compact);
//   - what begins at or above the first index of a batch is one range, too (TruncateFrom);
//   - the batch that holds an index is the first one at or behind that index (Read).
//
// A log that begins anew behind a snapshot is one range of batches and one of memberships that go, and four records, in one
// write. Record 5 is there until the state machine has recovered.
//
// Old memberships below the compacted index are left in place, and Load passes over all but the newest of them: they are
// small and rare, and finding them would take a read. They go when the replica is removed.
//
// # The way of a write
//
//	Group.Save ──► pebble.Batch of the group         on the step worker; the only copy of a batch's bytes here
//	Commit ─────► batches joined in the first one
//	              ApplyNoSyncWait ──► buffer of the write-ahead log, memtable
//	                                    │ Pebble's goroutine writes and syncs
//	              queue ─► completion goroutine: SyncWait, look at the latch, recycle, done
//
// A commit without MustSync goes the same way with no sync, and completes in its turn.
//
// # Failures
//
// The first failure of the disk is latched and is for ever (R9). All file operations pass through a guard (guard.go) that latches
// before Pebble hears of the failure, and hides failures of the log from Pebble, which would end the process. Success is
// only ever reported after a look at the latch. Reads go on. A store that has failed may keep its directory locked, and a
// few goroutines parked, until the process ends; it has to.
//
// # Damage
//
// What is stored is checked whenever it is read: Pebble's blocks by Pebble, batches and records by their own checksums,
// and that they stand where they belong. Damage there fails the one replica, with logdb.ErrDamaged.
//
// Pebble's write-ahead log and manifest are shared. Damage in them makes Open fail with logdb.ErrDamaged, and with it all of
// the host's replicas: nobody can say whose writes are missing. Four limits of Pebble are worked around:
//
//   - The first log of a new store is not protected; so a new store is closed and opened again before it is used.
//   - The marker of a new manifest can reach the disk before the manifest; so the directory is synced in between.
//   - Damage in the manifest would be taken for its end, and the tables named behind it be forgotten; so Open looks there itself
//     (manifest_check.go). What remains is the last record.
//   - Damage in the last 32 KiB block of the newest log would be taken for a torn tail; so Open looks there itself
//     (log_check.go). What remains are the last two syncs, of which no later write need bear witness (Pebble notes that a
//     sync has ended a moment after it has told so): they are missed by what is remembered outside the store (R14), not here.
//
// One limit is not worked around: what the log's chunks say of how far it was synced does not count what Pebble wrote in whole blocks of
// 32 KiB. Where writes are larger than a block, and a little where they cross one, damage in the newest log may be taken for its end, and
// more than the last two syncs be missing. That, too, is only missed by what is remembered outside.
//
// # Reading the source
//
// group.go and keys.go say what is written, commit.go when, load.go and read.go how it comes back, options.go how Pebble
// is tuned and why, guard.go what happens when the disk fails, log_check.go what Open looks for. All goroutines start in background.go.
package pebblelog
