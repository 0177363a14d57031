package raft

import "time"

// SetTimeouts changes the election timeout and the heartbeat interval while the replica runs; 0 stands for the default of each, as
// in Options. What is timed counts anew from now. The error is an ErrOptions.
//
// The hosts of a shard need not change together, as long as each leader's heartbeats come more often than the followers' timeouts
// allow: to lower both, lower the interval everywhere first; to raise both, raise the timeout first. A replica that is
// restarted begins with its Options again.
func (c *Core) SetTimeouts(now Instant, election, heartbeat time.Duration) error {
	c.now = now
	changed := c.options
	changed.ElectionTimeout, changed.HeartbeatInterval = election, heartbeat
	if err := changed.Validate(); err != nil {
		return err
	}
	changed.setDefaults()
	c.options = changed
	if c.electionAt != Never {
		c.resetElectionTimer(now)
	}
	if c.heartbeatAt != Never {
		c.heartbeatAt = c.nextHeartbeat(now)
	}
	if c.checkAt != Never {
		c.checkAt = now + c.electionTimeout()
	}
	return nil
}

// HeartbeatInterval returns the interval that is in force.
func (c *Core) HeartbeatInterval() time.Duration { return c.options.HeartbeatInterval }
