package raft

import "time"

// random is a small generator for election timeouts (splitmix64): same seed, same run.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9E3779B97F4A7C15
	z := r.state
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// resetElectionTimer draws a new timeout from [1, 2) times the base and starts it.
func (c *Core) resetElectionTimer(now Instant) {
	base := uint64(c.options.ElectionTimeout)
	c.timeout = Instant(base + c.random.next()%base)
	c.electionAt = now + c.timeout
}

// nextHeartbeat returns the next multiple of the interval, so that the heartbeats of all shards fall together.
func (c *Core) nextHeartbeat(now Instant) Instant {
	interval := Instant(c.options.HeartbeatInterval)
	return (now/interval + 1) * interval
}

func (c *Core) electionTimeout() Instant { return Instant(c.options.ElectionTimeout) }

// Deadline returns when Tick is to be called at the latest, Never if nothing is timed.
func (c *Core) Deadline() Instant {
	deadline := min(c.electionAt, c.heartbeatAt, c.checkAt, c.retryAt, c.forwardDeadline(), c.changes.deadline(), c.pullDeadline())
	if c.reads.deadline < deadline && c.reads.any() {
		deadline = c.reads.deadline
	}
	if c.transfer.active() {
		deadline = min(deadline, c.transfer.deadline())
	}
	return deadline
}

// Tick does what is due. It is harmless when nothing is.
func (c *Core) Tick(now Instant) {
	c.now = now
	if c.role == RoleStopped {
		return
	}
	if now >= c.heartbeatAt {
		c.heartbeatDue(now)
	}
	if now >= c.checkAt {
		c.checkQuorum(now)
	}
	if now >= c.retryAt {
		c.retryReads()
	}
	c.expireReads(now)
	c.expireForwards(now)
	c.expireTransfer(now)
	c.expirePull(now)
	c.expireChangeWaits(now)
	if now >= c.electionAt {
		c.electionDue(now)
	}
}

// heartbeatDue is the pace of a leader and of a replica that asks the other initial members what they are.
func (c *Core) heartbeatDue(now Instant) {
	c.noteStandstill(now)
	c.heartbeatAt = c.nextHeartbeat(now)
	switch c.role {
	case RoleLeader:
		c.reads.roundDue = true
		c.reads.sendAll = true
		c.offerSnapshots()
		c.settleCrowded()       // who was removed answers no more
		if c.voters.witnesses { // a data voter may have been silent for long enough by now
			c.advanceCommit(now)
		}
		c.askForRepair(now)
	case RoleBootstrapping:
		c.askInitialMembers()
	default:
		c.heartbeatAt = Never
		if c.heal.asks {
			c.askToBeHealed(now)
		} else {
			c.askForRepair(now)
		}
	}
}

// checkQuorum steps a leader down that was not heard by a majority for an election timeout (thesis 6.2), and one whose
// log store failed or whose state machine is quarantined once it had that long to hand over (R9, R24).
func (c *Core) checkQuorum(now Instant) {
	c.checkAt = Never
	if c.role != RoleLeader {
		return
	}
	c.checkAt = now + c.electionTimeout()
	c.roundTrip.rotate()
	c.watchFollowers(now)
	alive := !c.options.DisableCheckQuorum
	if c.unfit() || alive && !c.heardByQuorum(now) {
		c.becomeFollower(now, c.term)
		return
	}
	if c.storage == StorageFull {
		_ = c.beginTransfer(now, leaderTransfer{}) // by now it is known who has room (R10)
	}
	c.offerLeadership(now)
}

// unfit says that the replica must neither lead nor campaign.
func (c *Core) unfit() bool { return c.quarantined || c.storage.halted() }

// roundTrip keeps the least echo of a long time, the current and the previous window. It stands for the network: a host under
// load answers late for minutes on end, and taking that for distance would only add to the load.
type roundTrip struct {
	current, previous time.Duration
	age               int // election timeouts in the current window
}

const roundTripWindow = 512

func (r *roundTrip) observe(d time.Duration) {
	if d > 0 && (r.current == 0 || d < r.current) {
		r.current = d
	}
}

// rotate is called once in an election timeout.
func (r *roundTrip) rotate() {
	if r.age++; r.age < roundTripWindow {
		return
	}
	r.previous, r.current, r.age = r.current, 0, 0
}

func (r *roundTrip) least() time.Duration {
	if r.previous == 0 || r.current != 0 && r.current < r.previous {
		return r.current
	}
	return r.previous
}

// observeEcho takes the echoed send time of a heartbeat; times that this replica cannot have sent are ignored.
func (r *roundTrip) observeEcho(now Instant, sent int64) {
	if sent > 0 && sent <= int64(now) {
		r.observe(time.Duration(int64(now) - sent))
	}
}

// retryReads lets log reads that failed be asked for again.
func (c *Core) retryReads() {
	c.retryAt = Never
	c.apply.reading, c.tail.reading = 0, 0
	for _, p := range c.peers {
		p.reading = 0
	}
	c.sendDue = c.role == RoleLeader
}
