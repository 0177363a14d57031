package pebblelog

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-multierror"
)

// Defaults and limits of Options.
const (
	// DefaultMemtableBytes is the size of a memtable unless the options say otherwise: 64 MiB.
	DefaultMemtableBytes = 64 << 20
	// MinMemtableBytes is the smallest memtable that is accepted: 1 MiB.
	MinMemtableBytes = 1 << 20
	// MaxMemtableBytes is the largest memtable that is accepted: 2 GiB.
	MaxMemtableBytes = 2 << 30
)

// ErrOptions says that the options are not usable.
var ErrOptions = errors.New("pebblelog: options")

// Options are the options of a store. All but Dir may be left at their zero values.
type Options struct {
	// Dir is the directory of the store. It is made if it does not exist. Required.
	Dir string

	// FS is the file system; nil is the operating system's.
	FS vfs.FS

	// MemtableBytes is the size of a memtable, from MinMemtableBytes to MaxMemtableBytes; 0 is
	// DefaultMemtableBytes. Larger ones make less work: a batch that is compacted away while it is still in a memtable
	// is never written to a table. A store holds up to two of them most of the time, and eight before writes wait.
	MemtableBytes int

	// Logger gets what Pebble reports; nil discards it. Pebble's informational lines come at level debug.
	Logger *slog.Logger

	// OnFailure, if not nil, is called once, on a goroutine of its own, when the store has failed (R9): with
	// an error that wraps logdb.ErrFailed and names the cause. By then no Commit completes without an error any more.
	OnFailure func(error)
}

// Validate reports everything that is wrong with the options, as one error that wraps ErrOptions.
func (o Options) Validate() error {
	var faults *multierror.Error
	if o.Dir == "" {
		faults = multierror.Append(faults, errors.New("Dir is empty"))
	}
	if o.MemtableBytes != 0 && (o.MemtableBytes < MinMemtableBytes || o.MemtableBytes > MaxMemtableBytes) {
		faults = multierror.Append(faults, fmt.Errorf("MemtableBytes is %d, want 0 or %d to %d",
			o.MemtableBytes, MinMemtableBytes, MaxMemtableBytes))
	}
	if faults == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrOptions, faults)
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.MemtableBytes == 0 {
		o.MemtableBytes = DefaultMemtableBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// pebbleOptions tunes Pebble for a log: appended to at the tails of many key ranges, deleted from their fronts in
// ranges, and read almost never, since the log cache in front of it serves what is new.
//
// The cost to avoid is compaction. Keys are ordered by shard, so every table that is flushed spans all shards and overlaps
// all other tables; compacting one into the next level rewrites data that, for a log, is about to be deleted. So tables
// are left in level 0 for as long as reads can bear it, and most of them are dropped unread, when range deletions come to
// cover them. Separating values into blob files, which would spare rewriting altogether, was left out: what it saves is
// small once level 0 is this patient, and the garbage of blob files is collected by rewriting too.
func pebbleOptions(o Options, fs *guard, logger pebble.Logger) *pebble.Options {
	options := &pebble.Options{
		FS:     fs,
		Logger: logger,
		// FormatWALSyncChunks or later is what makes Open notice damage in the write-ahead log instead of taking it for the
		// log's end and dropping what follows (R12).
		FormatMajorVersion: pebble.FormatNewest,

		MemTableSize: uint64(o.MemtableBytes),
		// Eight memtables may wait for the flush before a commit does: a burst, or a slow disk, is absorbed for
		// 512 MiB at the default size.
		MemTableStopWritesThreshold: 8,
		// Pebble takes the memory of memtables out of the block cache, whence the sum. What remains for blocks is small: the
		// log cache and the page cache hold what is worth holding.
		CacheSize: int64(2*o.MemtableBytes) + 8<<20,

		// Merge out of level 0 late: 32 overlapping tables cost a rare reader 32 seeks and spare all shards most rewrites.
		// Writes are never stopped for the sake of readers.
		L0CompactionThreshold:     32,
		L0CompactionFileThreshold: 2000,
		L0StopWritesThreshold:     10_000,
		// One large bottom level below level 0, so that data which does live long is rewritten once, not level by level.
		LBaseMaxBytes: 64 << 30,
		// A flush makes one table. Cutting it would only give the range deletions smaller tables to drop at the
		// price of more files, and their syncs, per flush.
		FlushSplitBytes: 0,
		// No read-triggered compactions; see ReadSamplingMultiplier below.

		// WALMinSyncInterval stays 0: the log writer above has gathered its group already, waiting longer only adds latency.
		// Recycling of write-ahead log files stays on: a sync into blocks that were written before needs no journal commit.
	}
	for i := range options.TargetFileSizes {
		options.TargetFileSizes[i] = 128 << 20
	}
	for i := range options.Levels {
		// 32 KiB blocks: a batch is often larger than the default of 4 KiB, and an index entry per batch is waste.
		// No bloom filter: no lookup is for a key that may be missing in most tables.
		options.Levels[i].BlockSize = 32 << 10
	}
	// Batches are compressed, if at all, once and by their proposer; compressing them here again costs time and yields nothing.
	options.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	options.Experimental.ReadSamplingMultiplier = -1
	options.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) {
			logger.Errorf("background: %v", err)
			fs.backgroundError(err)
		},
		// Without this Pebble calls Fatalf for a damaged table, which latches the store's failure: whoever reads the damage is told,
		// and the logs of all others go on.
		DataCorruption: func(info pebble.DataCorruptionInfo) { logger.Errorf("damage: %v", info) },
	}
	return options
}
