package pebblekv

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-multierror"
)

// Defaults and limits of Options.
const (
	// DefaultMemtableBytes is the size of a memtable: 16 MiB.
	DefaultMemtableBytes = 16 << 20
	// MinMemtableBytes is the smallest memtable that is accepted: 64 KiB.
	MinMemtableBytes = 64 << 10
	// MaxMemtableBytes is the largest memtable that is accepted: 2 GiB.
	MaxMemtableBytes = 2 << 30
	// DefaultCacheBytes is the size of the block cache: 8 MiB.
	DefaultCacheBytes = 8 << 20
)

// ErrOptions says that the options are not usable.
var ErrOptions = errors.New("pebblekv: options")

// Options are the options of a machine. All but Dir may be left at their zero values.
type Options struct {
	// Dir is the directory of one replica's data. It is made if it does not exist. Required.
	Dir string
	// FS is the file system; nil is the operating system's.
	FS vfs.FS
	// MemtableBytes is the size of a memtable, from MinMemtableBytes to MaxMemtableBytes; 0 is DefaultMemtableBytes. Up to four of them are
	// in memory before Updates wait for the disk.
	MemtableBytes int
	// CacheBytes is the size of the cache of blocks that were read, in addition to memtables; 0 is DefaultCacheBytes.
	CacheBytes int64
	// Logger gets what Pebble reports; nil discards it. Its informational lines come at level debug.
	Logger *slog.Logger
}

// Validate reports everything that is wrong with the options, as one error that wraps ErrOptions.
func (o Options) Validate() error {
	var faults *multierror.Error
	if o.Dir == "" {
		faults = multierror.Append(faults, errors.New("Dir is empty"))
	}
	if o.MemtableBytes != 0 && (o.MemtableBytes < MinMemtableBytes || o.MemtableBytes > MaxMemtableBytes) {
		faults = multierror.Append(faults, fmt.Errorf("MemtableBytes is %d, want 0 or %d to %d", o.MemtableBytes, MinMemtableBytes, MaxMemtableBytes))
	}
	if o.CacheBytes < 0 {
		faults = multierror.Append(faults, fmt.Errorf("CacheBytes is %d, want 0 or more", o.CacheBytes))
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
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func (m *Machine) pebbleOptions() *pebble.Options {
	o := m.options
	options := &pebble.Options{
		FS:                          m.guard,
		Logger:                      logger{o.Logger, &m.latch},
		FormatMajorVersion:          pebble.FormatNewest,
		DisableWAL:                  true,
		MemTableSize:                uint64(o.MemtableBytes),
		MemTableStopWritesThreshold: 4,
		// Pebble takes the memory of memtables out of the cache.
		CacheSize:     int64(2*o.MemtableBytes) + o.CacheBytes,
		EventListener: &pebble.EventListener{BackgroundError: m.latch.set},
	}
	// It is for Pebbles with a write-ahead log.
	options.Experimental.DisableIngestAsFlushable = func() bool { return true }
	for i := range options.Levels {
		// Every command looks its key up first, and many are not there.
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return options
}
