package logstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-multierror"

	"github.com/flotilla-raft/flotilla/logdb"
)

// ErrConfig says that a configuration is wrong; the text lists every fault.
var ErrConfig = errors.New("logstore: invalid configuration")

// Store is a log store under test.
type Store struct {
	// Name is what the report calls it.
	Name string
	// Open opens the store in a directory that exists and is its alone.
	Open func(directory string, fs vfs.FS) (logdb.LogDB, error)
	// SegmentBytes is the size of a segment of the store's log, 0 if it has none.
	SegmentBytes int64
}

// AppendConfig configures RunAppend. The zero value of each field but Stores and Directory means its default.
type AppendConfig struct {
	// Stores are measured in turns. Required.
	Stores []Store
	// Directory is where files are made; what is made is removed. Required.
	Directory string
	// Appenders are the numbers of concurrent appenders. Default 1, 8, 64.
	Appenders []int
	// Payloads are the sizes of the command of a batch in bytes. Default 16, 1,024 and 65,536.
	Payloads []int
	// Warmup and Duration are spent on each store, number of appenders and payload. Defaults 500 ms and 2 s.
	Warmup, Duration time.Duration
	// Repeat is how often everything is measured; medians are reported. Default 3.
	Repeat int
	// KeepBytes is how much of a shard's log is kept: what is older is compacted away as the log grows, as snapshots would have
	// it. Default 1 MiB.
	KeepBytes int
}

func (c *AppendConfig) setDefaults() {
	if len(c.Appenders) == 0 {
		c.Appenders = []int{1, 8, 64}
	}
	if len(c.Payloads) == 0 {
		c.Payloads = []int{16, 1 << 10, 64 << 10}
	}
	if c.Warmup == 0 {
		c.Warmup = 500 * time.Millisecond
	}
	if c.Duration == 0 {
		c.Duration = 2 * time.Second
	}
	if c.Repeat == 0 {
		c.Repeat = 3
	}
	if c.KeepBytes == 0 {
		c.KeepBytes = 1 << 20
	}
}

// Validate lists every fault. The error is an ErrConfig.
func (c *AppendConfig) Validate() error {
	var faults *multierror.Error
	add := func(wrong bool, format string, arguments ...any) {
		if wrong {
			faults = multierror.Append(faults, fmt.Errorf(format, arguments...))
		}
	}
	add(len(c.Stores) == 0, "Stores: none, want at least one")
	add(c.Directory == "", "Directory: empty, want a directory")
	for _, n := range c.Appenders {
		add(n < 1 || n > 1<<16, "Appenders: %d, want 1 to %d", n, 1<<16)
	}
	for _, n := range c.Payloads {
		add(n < 0 || n > 64<<20, "Payloads: %d, want 0 to %d", n, 64<<20)
	}
	add(c.Warmup < 0, "Warmup: %s, want 0 or more", c.Warmup)
	add(c.Duration < 0, "Duration: %s, want 0 or more", c.Duration)
	add(c.Repeat < 0, "Repeat: %d, want 0 or more", c.Repeat)
	add(c.KeepBytes < 0, "KeepBytes: %d, want 0 or more", c.KeepBytes)
	if faults == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, faults)
}
