package nodehost

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
)

// bootClock is the runtime's monotonic clock until somebody counts on its going on while the host is suspended, and CLOCK_BOOTTIME from
// then on. A leader that wakes up has to find that its lease is over, and a bounded stale read that the state is as old
// as it is. Nobody else minds, and the kernel's clock costs a system call where the runtime's costs none.
//
// Both count from the moment that the clock was made. CLOCK_BOOTTIME is ahead by what the host was suspended since, so the change
// makes the clock jump forward at most; instants that were taken before are older than they would have been, which errs on
// the safe side.
type bootClock struct {
	system *engine.SystemClock
	origin int64 // CLOCK_BOOTTIME when the clock was made
	counts atomic.Bool
}

// newClock returns the default of Config.Clock.
func newClock() engine.Clock {
	origin, err := bootTime()
	system := engine.NewSystemClock()
	if err != nil {
		return system
	}
	return &bootClock{system: system, origin: origin}
}

// CountSuspension implements engine.SuspensionClock.
func (c *bootClock) CountSuspension() { c.counts.Store(true) }

// Now implements engine.Clock.
func (c *bootClock) Now() raft.Instant {
	if !c.counts.Load() {
		return c.system.Now()
	}
	now, _ := bootTime() // it was read once, so it can be read
	return raft.Instant(now - c.origin + int64(time.Second))
}

func bootTime() (int64, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	return now.Nano(), err
}
