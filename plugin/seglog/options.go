package seglog

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-multierror"
)

// Defaults and limits of Options.
const (
	// DefaultSegmentBytes is the size of a segment file unless the options say otherwise: 64 MiB.
	DefaultSegmentBytes = 64 << 20
	// MinSegmentBytes is the smallest segment that is accepted: 64 KiB.
	MinSegmentBytes = 64 << 10
	// MaxSegmentBytes is the largest segment that is accepted: 1 GiB.
	MaxSegmentBytes = 1 << 30
	// DefaultRewriteBytesPerSecond is how fast live data is moved out of old segments: 64 MiB/s.
	DefaultRewriteBytesPerSecond = 64 << 20
	// DefaultIdleDelay is how long the writer rests before it writes a marker behind the last group: 100 ms.
	DefaultIdleDelay = 100 * time.Millisecond
	// inlineBytes is the size up to which a lone Commit is written by its caller: above it, the next is better gathered meanwhile.
	inlineBytes = 96 << 10
)

// ErrOptions says that the options are not usable.
var ErrOptions = errors.New("seglog: options")

// Options are the options of a store. All but Dir may be left at their zero values.
type Options struct {
	// Dir is the directory of the store. It is made if it does not exist. Required.
	Dir string

	// Directories are further directories, one on each further device: the store then has a lane in each, and in Dir (OpenLanes). Each shard is in
	// one lane. Which directories there are is recorded: more may be added at the end, none may be missing. None: one lane.
	Directories []string

	// isLane is set by OpenLanes.
	isLane bool

	// FS is the file system; nil is the operating system's.
	FS vfs.FS

	// Owner names the host that the directory belongs to, 0 for any. A store remembers the first that is given and refuses
	// others with ErrOwner: somebody else's log would make this host keep somebody else's promises.
	Owner uint64

	// SegmentBytes is the size of a segment file, from MinSegmentBytes to MaxSegmentBytes, rounded up to whole blocks; 0 is
	// DefaultSegmentBytes. It may differ from the one that the directory was written with. Opening reads and copies up to
	// one segment, and disk use is up to two segments above what is live: so smaller ones open faster, larger ones
	// change files less often.
	SegmentBytes int

	// RewriteBytesPerSecond bounds how fast live data is moved out of old segments; 0 is DefaultRewriteBytesPerSecond.
	RewriteBytesPerSecond int

	// IdleDelay is how long after the last group a marker is written that bears witness of it; 0 is DefaultIdleDelay.
	IdleDelay time.Duration

	// TrustIndex makes Load believe the index, which has checksums of its own, and not read the log. Damage in a batch
	// is then found when it is read, not when its replica starts.
	TrustIndex bool

	// HandOff makes the store's goroutine do every write. Otherwise a small Commit that comes while nothing is under way is
	// written and synced by its caller, which saves changes of goroutine.
	HandOff bool

	// Buffered keeps the store from bypassing the page cache (O_DIRECT), as it does where the file system allows it.
	Buffered bool

	// Manual starts no goroutines: nothing is written but by RunOnce and Close. For deterministic runs.
	Manual bool

	// Logger gets what is found when the store is opened, and failures; nil discards it.
	Logger *slog.Logger

	// OnFailure, if not nil, is called once, on a goroutine of its own (from within RunOnce in a Manual store), when the
	// store, or any of its lanes, has failed: with an error that wraps logdb.ErrFailed and names the cause. By then no Commit completes without
	// an error. With several lanes there are two exceptions: a Commit that is being told done at that very moment, and other lanes may still write
	// what was handed to them, though its Commit completes with the error.
	OnFailure func(error)
}

// Validate reports everything that is wrong with the options, as one error that wraps ErrOptions.
func (o Options) Validate() error {
	var faults *multierror.Error
	if o.Dir == "" {
		faults = multierror.Append(faults, errors.New("Dir is empty"))
	}
	for i, directory := range o.Directories {
		if directory == "" || directory == o.Dir || slices.Contains(o.Directories[:i], directory) {
			faults = multierror.Append(faults, fmt.Errorf("Directories has %q, want other directories than Dir, each once", directory))
		}
	}
	if o.SegmentBytes != 0 && (o.SegmentBytes < MinSegmentBytes || o.SegmentBytes > MaxSegmentBytes) {
		faults = multierror.Append(faults, fmt.Errorf("SegmentBytes is %d, want 0 or %d to %d",
			o.SegmentBytes, MinSegmentBytes, MaxSegmentBytes))
	}
	if o.RewriteBytesPerSecond < 0 {
		faults = multierror.Append(faults, fmt.Errorf("RewriteBytesPerSecond is %d, want at least 0", o.RewriteBytesPerSecond))
	}
	if o.IdleDelay < 0 {
		faults = multierror.Append(faults, fmt.Errorf("IdleDelay is %v, want at least 0", o.IdleDelay))
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
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	o.SegmentBytes = int(alignUp(int64(o.SegmentBytes)))
	if o.RewriteBytesPerSecond == 0 {
		o.RewriteBytesPerSecond = DefaultRewriteBytesPerSecond
	}
	if o.IdleDelay == 0 {
		o.IdleDelay = DefaultIdleDelay
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
