package simulation

import "github.com/flotilla-raft/flotilla/raft"

// clock is a host's monotonic clock: it runs at its own pace, may jump forward and never goes back.
type clock struct {
	since int64   // an instant of the world
	base  int64   // what the clock showed then
	pace  float64 // nanoseconds of the clock per nanosecond of the world
}

func (c *clock) at(world int64) raft.Instant {
	return raft.Instant(c.base + int64(float64(world-c.since)*c.pace))
}

// change lets the clock jump forward and go on at another pace.
func (c *clock) change(world, jump int64, pace float64) {
	c.base, c.since, c.pace = int64(c.at(world))+jump, world, pace
}

// world returns the first instant of the world at which the clock shows at least local.
func (c *clock) world(local raft.Instant) int64 {
	if int64(local) <= c.base {
		return c.since
	}
	return c.since + int64(float64(int64(local)-c.base)/c.pace) + 1
}

// slowestPace is the least that the faults give a clock.
const slowestPace = 0.6

// hostClock is a host's clock for what asks it outside of the workers.
type hostClock struct{ host *host }

func (c hostClock) Now() raft.Instant { return c.host.now() }
