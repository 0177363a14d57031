package raft

import (
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// A lease lets a leader serve reads without a round of heartbeats (R23; thesis 6.4.1 describes a weaker form). It is a promise of the
// voters: whoever answers a heartbeat with LeaseRead on votes for nobody else, and does not campaign, for a while from the receipt on,
// and says for how long. The leader counts the same while from the moment that it sent that heartbeat, which was
// earlier, less what two clocks may differ in it. As long as a quorum is bound nobody else can have been elected, so
// nothing can be committed that this leader does not know.
//
// What the argument needs, and where it is kept:
//   - The promise outlives whatever the voter does meanwhile: a higher term, another leader, a changed timeout, its own timer
//     (boundUntil is never lowered, and asked wherever a vote is given or a campaign begins). A restart forgets it, so a restarted
//     voter is bound for as long as it may have promised before. That is why a promise is never longer than the
//     ElectionTimeout of its Options, whatever SetTimeouts says. A replica that is started with a smaller
//     one than its former self had must have been down for the difference.
//   - A hand-over breaks the promise on purpose: votes of a campaign that the leader asked for are not sticky. So the leader has no
//     lease from the moment that it queues TimeoutNow to the end of its term, whatever becomes of the transfer (T-28).
//   - Receipt is not when the core is told the time. The clock is read before inputs are taken, and the process may stand still in between
//     for as long as it pleases: a promise counted from that reading may be over when the heartbeat is sent. So it counts
//     from a reading made after the message was taken (Observe); until there is one the replica is bound.
//   - For the same reason a read is not decided by the reading that was made before it arrived, but by the next one.
//   - An entry of the term is committed (thesis 6.4), and the read waits until what was committed when it arrived is applied.
//   - Clocks of two hosts do not drift apart by more than MaxClockDrift. Offsets between them do not matter. A voter that is
//     seen to gain more on this host does not count (clockWatch), nor does one whose clock this leader has not compared yet, which
//     takes the answers to two heartbeats: what its predecessor knew of it went with the predecessor.
//
// Followers forward their reads as always; the leader answers them by its lease.

// leaseState is both sides of leases.
type leaseState struct {
	over    bool        // leader: this term has none any more
	reads   deque[read] // arrived under a lease; decided by the next reading of the clock
	settled int         // so many of reads were there at the last Drain

	boundUntil     Instant // votes for nobody until then
	promise        Instant // promised since the last Drain, counts from a reading of the clock that is still to come
	promiseSettled Instant // promised before that
	limit          Instant // ElectionTimeout at the start: what a former self may have promised at most
}

// ClockDue says that something waits for a reading of the clock that is made after the last Drain: call Observe with one soon.
func (c *Core) ClockDue() bool { return c.lease.promiseSettled != 0 || c.lease.settled > 0 }

// Observe tells the core an instant that was read after the last Drain. Other calls give it the time as well, but of a reading
// that may be older than the inputs that come with it, by as long as the process stood still in between.
func (c *Core) Observe(now Instant) {
	c.now = now
	l := &c.lease
	if l.promiseSettled != 0 {
		l.boundUntil = max(l.boundUntil, now+l.promiseSettled)
		l.promiseSettled = 0
	}
	for ; l.settled > 0; l.settled-- {
		r := *l.reads.front()
		l.reads.popFront()
		if c.hasLease(now) {
			r.lease = true
			c.answerRead(r, raftpb.ReasonNone)
			continue
		}
		c.awaitRound(now, r)
	}
}

// clockWanted says that Drain has something to settle, so that ClockDue is true after it.
func (c *Core) clockWanted() bool {
	return c.lease.promise != 0 || c.lease.reads.len() > c.lease.settled
}

// settleClock ends what arrived before this Drain: the next reading of the clock counts for it.
func (c *Core) settleClock() {
	l := &c.lease
	l.promiseSettled, l.promise = max(l.promiseSettled, l.promise), 0
	l.settled = l.reads.len()
}

// bound says that the replica has promised to vote for nobody at present.
func (c *Core) bound(now Instant) bool {
	return now < c.lease.boundUntil || c.lease.promise != 0 || c.lease.promiseSettled != 0
}

// beginBound binds a replica that may have promised something before it was restarted.
func (c *Core) beginBound(now Instant) {
	c.lease.limit = c.electionTimeout()
	if c.options.LeaseRead && c.term > 0 {
		c.lease.boundUntil = now + c.lease.limit
	}
}

// bindToLeader promises the leader that was heard to vote for nobody, and returns for how long.
func (c *Core) bindToLeader() Instant {
	if !c.options.LeaseRead {
		return 0
	}
	promise := min(c.electionTimeout(), c.lease.limit)
	c.lease.promise = max(c.lease.promise, promise)
	return promise
}

// release ends a promise because the leader that it was made to said good-bye.
func (c *Core) release() {
	c.lease.boundUntil, c.lease.promise, c.lease.promiseSettled = 0, 0, 0
}

// waitOutPromise puts off a campaign of a replica that has promised to vote for nobody.
func (c *Core) waitOutPromise(now Instant) bool {
	if !c.bound(now) {
		return false
	}
	c.electionAt = max(c.lease.boundUntil, now+Instant(c.options.HeartbeatInterval))
	return true
}

// endLease is for the moment before leadership is handed over.
func (c *Core) endLease() { c.lease.over = true }

// hasLease says that no other leader can have been elected before now.
func (c *Core) hasLease(now Instant) bool {
	return c.options.LeaseRead && c.role == RoleLeader && !c.lease.over && !c.unfit() && c.commit >= c.termStart &&
		now < c.leaseEnd()
}

// leaseEnd is the instant up to which a quorum is bound, in the incoming and the outgoing configuration.
func (c *Core) leaseEnd() Instant {
	return Instant(c.quorumOf(func(p *peer) uint64 {
		switch {
		case p == nil:
			return uint64(Never)
		case p.clock.exceeded, p.lost:
			return 0
		}
		return uint64(p.boundUntil)
	}))
}

// extendLease takes what a voter promised with its answer to a heartbeat.
func (c *Core) extendLease(now Instant, m *raftpb.Message, p *peer) {
	sent := Instant(m.Time)
	if sent <= 0 || sent > now {
		return
	}
	if p.clock.observe(now, sent, m.HintTerm, c.options.MaxClockDrift, c.electionTimeout()) {
		c.event(Event{Kind: EventClockDrift, Replica: p.id})
	}
	if !p.clock.compared { // since this leader was elected, or the voter restarted, its clock may have begun to gain
		return
	}
	promise := min(m.HintIndex, uint64(maxTimeout))
	p.boundUntil = max(p.boundUntil, sent+Instant(promise)-drifted(Instant(promise), c.options.MaxClockDrift))
}

// drifted is how much two clocks may differ after some time, rounded up.
func drifted(d Instant, perSecond time.Duration) Instant {
	return (d/1e6 + 1) * Instant(perSecond) / 1e3
}

// queueLeaseRead keeps a read for the next reading of the clock, if there is a lease now.
func (c *Core) queueLeaseRead(now Instant, r read) bool {
	if !c.options.LeaseRead || !c.hasLease(now) {
		return false
	}
	r.index = c.readableIndex()
	c.lease.reads.push(r)
	return true
}

// refuseLeaseReads ends the reads that wait for a reading of the clock, with the role.
func (c *Core) refuseLeaseReads(reason raftpb.Reason) {
	for c.lease.reads.len() > 0 {
		c.answerRead(*c.lease.reads.front(), reason)
		c.lease.reads.popFront()
	}
	c.lease.settled = 0
}

// clockWatch compares a voter's clock with this host's. An answer to a heartbeat tells the voter's clock at some moment between the
// sending and the receipt. So between two answers this clock has gone on by at most the time from the sending of
// the first to the receipt of the second; a voter whose clock went on by more than the bound allows for that has gained on this
// one for certain, however slow the network is. One that falls behind only promises more than it says. Both clocks are to be read when the message
// was taken, or later, or a process that stood still between the two makes clocks that agree seem to drift: engine.StepWorker sees to that.
//
// Two comparisons go on at a time. A small drift shows only after many round trips. One that begins all at once would be hidden for as long in
// what the bound had allowed until then, and shows soon in a comparison that began a short while ago.
type clockWatch struct {
	newest      uint64 // the voter's clock, as it last told it
	comparisons [len(clockWindows)]clockComparison
	exceeded    bool
	compared    bool // once at least, without showing that
}

// clockComparison is where a comparison began.
type clockComparison struct {
	sent  Instant // of the heartbeat whose answer began it
	clock uint64  // the voter's clock in that answer, 0 for none
}

// clockWindows is how many election timeouts a comparison lasts.
var clockWindows = [...]Instant{1, 32}

// minComparison is the part of an election timeout between the sendings of two heartbeats that makes them a comparison at all: half of what lies
// between two by default.
const minComparison = 20

// observe takes an answer and says that the bound is exceeded now and was not before. What was exceeded is over after a whole long
// comparison in which neither kind showed it.
func (w *clockWatch) observe(now, sent Instant, clock uint64, perSecond time.Duration, electionTimeout Instant) (drifts bool) {
	if clock == 0 || clock >= maxNumber || clock < w.newest {
		return false // of another answer that came late
	}
	w.newest = clock
	if w.gained(now, clock, perSecond) {
		drifts, w.exceeded = !w.exceeded, true
		w.comparisons = [len(clockWindows)]clockComparison{}
	} else if begin := w.comparisons[0]; begin.clock != 0 && sent >= begin.sent+electionTimeout/minComparison {
		w.compared = true
	}
	for i := range w.comparisons {
		comparison := &w.comparisons[i]
		over := comparison.clock != 0 && now-comparison.sent > clockWindows[i]*electionTimeout
		if over && i == len(clockWindows)-1 {
			w.exceeded = false
		}
		if over || comparison.clock == 0 {
			*comparison = clockComparison{sent: sent, clock: clock}
		}
	}
	return drifts
}

// gained says that the clock has gone on by more than the bound allows since a comparison began.
func (w *clockWatch) gained(now Instant, clock uint64, perSecond time.Duration) bool {
	for _, comparison := range w.comparisons {
		elapsed := now - comparison.sent
		if comparison.clock != 0 && Instant(clock-comparison.clock) > elapsed+drifted(elapsed, perSecond) {
			return true
		}
	}
	return false
}
