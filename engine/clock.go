package engine

import (
	"time"

	"github.com/flotilla-raft/flotilla/raft"
)

// Clock tells the host's monotonic time. Every worker reads it once per RunOnce, through loop; nothing below the loop
// reads a clock.
type Clock interface {
	Now() raft.Instant
}

// SuspensionClock is a Clock that can be told to go on while the host is suspended. The engine does so when the first replica with leases
// is started, and with the first bounded stale read; what either counts on is wrong with a clock that stands still meanwhile.
type SuspensionClock interface {
	Clock
	// CountSuspension makes the clock go on while the host is suspended, from now on; it may jump forward by how long the host was
	// suspended before. Safe for concurrent use.
	CountSuspension()
}

// SystemClock is the machine's monotonic clock, counted from the moment it was made, plus one second so that no instant is 0.
type SystemClock struct{ origin time.Time }

// NewSystemClock returns a clock that starts now.
func NewSystemClock() *SystemClock { return &SystemClock{origin: time.Now()} }

// Now returns the current instant.
func (c *SystemClock) Now() raft.Instant {
	return raft.Instant(time.Since(c.origin) + time.Second)
}
