package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// Freshness says that a state which has applied everything up to Index holds whatever was acknowledged before At, an instant
// of this host's clock. A bounded stale read asks nobody; it looks how long ago that was (R23).
//
// A leader learns it from a round of heartbeats that a quorum confirmed: what was committed when the round was sent holds all that
// had been acknowledged until then, for nobody else led. A follower is told the same in its own time: the leader sends
// along what the follower's clock showed in the newest answer that had come before the round was sent. So no two clocks are
// compared, and neither their offset nor their drift matters.
type Freshness struct {
	At    Instant // 0: nothing is known
	Index uint64
}

// freshnessState keeps two: the newest, and the one before that is applied already.
type freshnessState struct {
	newest, applied Freshness
	round           uint64    // leader: of the round under way that is looked at, 0 for none
	sent            Freshness // leader: when it was sent, and the commit index then
	shown           uint64    // leader: commit index of the last round that was confirmed
}

// Freshness returns the newest that is known, and one that is applied here.
func (c *Core) Freshness() (newest, applied Freshness) { return c.fresh.newest, c.fresh.applied }

// learnFresh takes a newer one. As long as the last one is not applied newer ones are left out: under load there is always another,
// and the state would never be known to have reached any. Likewise while the state machine recovers from a snapshot: it does not
// hold yet what counts as applied.
func (c *Core) learnFresh(f Freshness) {
	if f.At <= c.fresh.newest.At || c.install.recovering {
		return
	}
	if c.fresh.newest.Index <= c.applied {
		c.fresh.applied, c.fresh.newest = c.fresh.newest, f
	}
}

// beginFreshRound notes, with a round that is about to be sent, what its confirmation will show.
func (c *Core) beginFreshRound() {
	s := &c.fresh
	if s.round != 0 && s.round > c.reads.confirmed || c.readableIndex() == 0 {
		return
	}
	s.round, s.sent = c.reads.round, Freshness{At: c.now, Index: c.readableIndex()}
	for _, p := range c.peers {
		p.clockThen = p.clock.newest
	}
}

// freshRoundConfirmed runs when rounds are confirmed.
func (c *Core) freshRoundConfirmed() {
	s := &c.fresh
	if s.round == 0 || s.round > c.reads.confirmed {
		return
	}
	s.round, s.shown = 0, s.sent.Index
	c.learnFresh(s.sent)
	for _, p := range c.peers {
		p.clockShown = p.clockThen
	}
}

// toldFreshness takes what a leader sends along with a heartbeat. It counts only in the session that told the leader the clock.
func (c *Core) toldFreshness(now Instant, m *raftpb.Message) {
	if at := Instant(m.HintTerm); m.ToSession == c.options.Session && m.HintTerm < maxNumber && at > 0 && at <= now {
		c.learnFresh(Freshness{At: at, Index: m.HintIndex})
	}
}
