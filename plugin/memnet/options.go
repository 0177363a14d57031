package memnet

import (
	"fmt"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/flotilla-raft/flotilla/transport"
)

// Defaults of Options.
const (
	// DefaultControlQueueBytes, DefaultBulkQueueBytes and DefaultSnapshotQueueBytes are those of the TCP transport.
	DefaultControlQueueBytes  = 4 << 20
	DefaultBulkQueueBytes     = 64 << 20
	DefaultSnapshotQueueBytes = 4 << 20
	// DefaultReconnectPause is short, because an attempt in memory costs nothing.
	DefaultReconnectPause = 10 * time.Millisecond
)

// Options configure a Network. The zero value is a network without faults.
type Options struct {
	// Seed decides everything that is drawn: the order of what is due, and every fault.
	Seed uint64
	// Faults are those of every link for which SetFaults was not called.
	Faults Faults
	// ControlQueueBytes, BulkQueueBytes and SnapshotQueueBytes bound what is under way from one host to another on a lane.
	// Defaults: DefaultControlQueueBytes, DefaultBulkQueueBytes, DefaultSnapshotQueueBytes.
	ControlQueueBytes, BulkQueueBytes, SnapshotQueueBytes int
	// ReconnectPause is the time between two attempts to connect. Default: DefaultReconnectPause.
	ReconnectPause time.Duration
}

// Faults are what a network does to the frames of a link, the way from one host to another on all lanes. The zero value
// delivers everything at once and in order. Probabilities are per frame, between 0 and 1.
type Faults struct {
	// DelayMin and DelayMax bound the delay, drawn evenly for each frame. Frames stay in order all the same.
	DelayMin, DelayMax time.Duration
	// Loss is the probability that a frame vanishes.
	Loss float64
	// Reorder is the probability that a frame may overtake others, and others it: its delay counts from when it
	// was sent, whatever came before, and is drawn up to twice DelayMax.
	Reorder float64
	// Duplicate is the probability that a frame comes twice, the second time out of order as under Reorder.
	Duplicate float64
	// Partitioned makes every frame vanish, and every attempt to connect fail: a connection needs both directions.
	// A connection that exists stays, and its sender learns nothing, as when packets are dropped on the way.
	Partitioned bool
}

// Validate returns an error that wraps transport.ErrConfig and lists every fault, or nil.
func (f Faults) Validate() error {
	var wrong *multierror.Error
	for _, p := range []struct {
		name  string
		value float64
	}{{"Loss", f.Loss}, {"Reorder", f.Reorder}, {"Duplicate", f.Duplicate}} {
		if !(p.value >= 0 && p.value <= 1) {
			wrong = multierror.Append(wrong, fmt.Errorf("%s is %v, must be between 0 and 1", p.name, p.value))
		}
	}
	if f.DelayMin < 0 || f.DelayMin > f.DelayMax {
		wrong = multierror.Append(wrong, fmt.Errorf("DelayMin %v and DelayMax %v must not be negative, nor the first above the second", f.DelayMin, f.DelayMax))
	}
	if err := wrong.ErrorOrNil(); err != nil {
		return fmt.Errorf("%w: %w", transport.ErrConfig, err)
	}
	return nil
}

// Validate returns an error that wraps transport.ErrConfig and lists every fault, or nil.
func (o Options) Validate() error {
	var wrong *multierror.Error
	if err := o.Faults.Validate(); err != nil {
		wrong = multierror.Append(wrong, err)
	}
	for _, size := range []struct {
		name  string
		value int64
	}{
		{"ControlQueueBytes", int64(o.ControlQueueBytes)}, {"BulkQueueBytes", int64(o.BulkQueueBytes)},
		{"SnapshotQueueBytes", int64(o.SnapshotQueueBytes)}, {"ReconnectPause", int64(o.ReconnectPause)},
	} {
		if size.value < 0 {
			wrong = multierror.Append(wrong, fmt.Errorf("%s is %d, must not be negative", size.name, size.value))
		}
	}
	if err := wrong.ErrorOrNil(); err != nil {
		return fmt.Errorf("%w: %w", transport.ErrConfig, err)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.ControlQueueBytes == 0 {
		o.ControlQueueBytes = DefaultControlQueueBytes
	}
	if o.BulkQueueBytes == 0 {
		o.BulkQueueBytes = DefaultBulkQueueBytes
	}
	if o.SnapshotQueueBytes == 0 {
		o.SnapshotQueueBytes = DefaultSnapshotQueueBytes
	}
	if o.ReconnectPause == 0 {
		o.ReconnectPause = DefaultReconnectPause
	}
	return o
}
