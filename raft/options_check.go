package raft

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-multierror"
)

// ErrOptions says that options of a core are wrong; the text lists every fault.
var ErrOptions = errors.New("raft: invalid options")

// Bounds of what a core may be asked to do.
const (
	maxTimeout = time.Hour
	maxBytes   = 1 << 40
)

// MaxClockDrift is the most that Options.MaxClockDrift may be. It leaves half of a lease.
const MaxClockDrift = 500 * time.Millisecond

// setDefaults replaces zero values.
func (o *Options) setDefaults() {
	setDefault(&o.ElectionTimeout, time.Second)
	setDefault(&o.HeartbeatInterval, max(o.ElectionTimeout/10, 1))
	setDefault(&o.MaxClockDrift, 100*time.Millisecond)
	setDefault(&o.MaxMessageBytes, 1<<20)
	setDefault(&o.MaxInflightBytes, 16<<20)
	setDefault(&o.MaxInflightMessages, 256)
	setDefault(&o.MaxUncommittedBytes, 64<<20)
	setDefault(&o.MaxBacklogBytes, 64<<20)
	setDefault(&o.MaxPinnedBytes, 4<<20)
	setDefault(&o.MaxApplyBytes, 1<<20)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate lists every fault. A zero field stands for its default and is none, except the identities. The error is an
// ErrOptions.
func (o *Options) Validate() error {
	checked := *o
	checked.setDefaults()
	var faults *multierror.Error
	add := func(wrong bool, format string, arguments ...any) {
		if wrong {
			faults = multierror.Append(faults, fmt.Errorf(format, arguments...))
		}
	}
	add(checked.ShardID == 0, "ShardID: 0, want another number")
	add(checked.ReplicaID == 0, "ReplicaID: 0, want another number")
	add(checked.Session == 0, "Session: 0, want a random number")
	checked.validateTimes(add)
	sizes := []struct {
		name  string
		value int
	}{
		{"MaxMessageBytes", checked.MaxMessageBytes}, {"MaxInflightBytes", checked.MaxInflightBytes},
		{"MaxInflightMessages", checked.MaxInflightMessages}, {"MaxUncommittedBytes", checked.MaxUncommittedBytes},
		{"MaxBacklogBytes", checked.MaxBacklogBytes}, {"MaxPinnedBytes", checked.MaxPinnedBytes}, {"MaxApplyBytes", checked.MaxApplyBytes},
	}
	for _, size := range sizes {
		add(size.value < 1 || size.value > maxBytes, "%s: %d, want 1 to %d", size.name, size.value, maxBytes)
	}
	if faults == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrOptions, faults)
}

func (o *Options) validateTimes(add func(bool, string, ...any)) {
	add(o.ElectionTimeout <= 0 || o.ElectionTimeout > maxTimeout,
		"ElectionTimeout: %s, want more than 0 and at most %s", o.ElectionTimeout, maxTimeout)
	add(o.MaxClockDrift <= 0 || o.MaxClockDrift > MaxClockDrift,
		"MaxClockDrift: %s, want more than 0 and at most %s in a second", o.MaxClockDrift, MaxClockDrift)
	add(o.HeartbeatInterval <= 0 || o.HeartbeatInterval > o.ElectionTimeout/2,
		"HeartbeatInterval: %s, want more than 0 and at most half the election timeout of %s",
		o.HeartbeatInterval, o.ElectionTimeout)
}
