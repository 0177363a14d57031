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

// SystemClock is the machine's monotonic clock, counted from the moment it was made, plus one second so that no instant is 0.
type SystemClock struct{ origin time.Time }

// NewSystemClock returns a clock that starts now.
func NewSystemClock() *SystemClock { return &SystemClock{origin: time.Now()} }

// Now returns the current instant.
func (c *SystemClock) Now() raft.Instant {
	return raft.Instant(time.Since(c.origin) + time.Second)
}
