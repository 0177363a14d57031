package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// A leader whose follower needs what is compacted tells it so (MessageInstallSnapshot), and whom to ask for a snapshot. The bytes do not
// pass the core: the follower's host fetches them. The leader repeats the offer at the pace of heartbeats, so nothing depends on any one
// message, until it hears that the follower's log has got there: by MessageSnapshotStatus, or by whatever else the follower
// says that it holds, since a status may be lost. Only that reopens replication.
//
// A leader that does not hear the source any more offers the next one, too: the follower, which may be half of what is left of a quorum, is
// not to wait for the dead. It goes over only if nothing comes of the former (Install).
//
// Each attempt has a stream of its own, so that an answer to one that is over ends nothing, and bytes of two snapshots are
// never taken for one. An attempt that fails is followed by one from another source; when all have failed, after a pause that grows.

// snapshotOffer is what a leader keeps of a follower in ProgressSnapshot, and only then.
type snapshotOffer struct {
	stream   uint64 // of the present attempt, 0 for none
	source   uint64 // whom it names
	least    entryID
	failures int      // attempts that failed
	retryAt  Instant  // no attempt begins before
	tried    []uint64 // sources that failed since the last pause
}

// maxOfferPause bounds the pause after failed attempts, in election timeouts.
const maxOfferPause = 32

// heardLately says that a follower answered this leader within the last election timeout: only then a snapshot is worth beginning, and a membership
// that needs it may follow. lastContact alone does not say that, for it begins with the leadership.
func (c *Core) heardLately(p *peer) bool {
	return p.online && c.now < p.lastContact+c.electionTimeout()
}

// offerSnapshots is called at the pace of heartbeats.
func (c *Core) offerSnapshots() {
	for _, p := range c.peers {
		if p.state == ProgressSnapshot {
			c.offerSnapshot(p)
		}
	}
}

// offerSnapshot sends the offer, again if it was sent before. A follower that takes nothing at the moment gets none, nor does one that is
// not heard, or counts for nothing.
func (c *Core) offerSnapshot(p *peer) {
	if p.lost || c.unhealed(p) || p.refuses != raftpb.ReasonNone || !c.heardLately(p) || c.now < p.offer.retryAt {
		return
	}
	m := c.message(raftpb.MessageInstallSnapshot, p)
	if p.headersOnly {
		c.offerToWitness(&m)
		c.post(m)
		return
	}
	o := p.offer
	if o.stream != 0 && c.sourceGone(o.source) {
		o.passOver()
	}
	if o.stream == 0 {
		o.source = c.snapshotSource(p)
		if o.source == 0 {
			return
		}
		o.stream, o.least = c.newStream(), c.log.terms.before
	}
	m.LogIndex, m.LogTerm = o.least.Index, o.least.Term
	m.HintIndex, m.HintTerm = o.stream, o.source
	for member := range everyMember(c.membership) {
		if member.ReplicaID == o.source {
			m.Payload = []byte(member.Address) // who joins knows no membership yet
		}
	}
	c.post(m)
}

// newStream returns a number that no other attempt has, of whatever replica: sessions are random.
func (c *Core) newStream() uint64 {
	c.request++
	return max(c.options.Session+c.request, 1)
}

// offerToWitness puts a snapshot into the message: all that there is to one of a replica without state is where its log begins and
// the membership there.
func (c *Core) offerToWitness(m *raftpb.Message) {
	config := c.committedConfig()
	m.LogIndex, m.LogTerm = c.commit, c.log.terms.term(c.commit)
	m.Payload = raftpb.AppendSnapshotMeta(nil, raftpb.SnapshotMeta{
		ShardID: c.options.ShardID, ReplicaID: c.options.ReplicaID, Index: m.LogIndex, Term: m.LogTerm,
		Config: *config, Kind: raftpb.SnapshotWitness,
	})
}

// snapshotSource chooses whom a follower is to ask: the other one that has the most of those that hold state, answer, and have what the
// snapshot must reach, so that the leader has none of the work; at last the leader itself; each once until all have failed.
func (c *Core) snapshotSource(p *peer) uint64 {
	var best *peer
	for _, other := range c.peers {
		if c.options.DisableFollowerSnapshots || other == p || !c.servesSnapshots(other) || p.offer.hasTried(other.id) {
			continue
		}
		if best == nil || other.match > best.match {
			best = other
		}
	}
	switch {
	case best != nil:
		return best.id
	case !c.quarantined && !p.offer.hasTried(c.options.ReplicaID):
		return c.options.ReplicaID
	}
	p.offer.pause(c.now, c.electionTimeout())
	return 0
}

// sourceGone says that another replica that was named as a source is not heard any more.
func (c *Core) sourceGone(source uint64) bool {
	if source == c.options.ReplicaID {
		return false
	}
	p := c.peer(source)
	return p == nil || p.lost || !c.heardLately(p)
}

func (c *Core) servesSnapshots(p *peer) bool {
	return !p.headersOnly && !p.lost && p.state == ProgressReplicate && p.match >= c.log.compacted() && c.heardLately(p)
}

func (o *snapshotOffer) hasTried(source uint64) bool {
	for _, tried := range o.tried {
		if tried == source {
			return true
		}
	}
	return false
}

// passOver lets the next attempt name another source.
func (o *snapshotOffer) passOver() {
	o.tried = append(o.tried, o.source)
	o.stream = 0
}

// pause is for when every source has failed.
func (o *snapshotOffer) pause(now, timeout Instant) {
	o.retryAt = now + timeout*Instant(min(max(o.failures, 1), maxOfferPause))
	o.tried = nil
}

// handleSnapshotStatus takes what a follower says of an offer. That its log begins at or reaches an entry is true whichever offer
// brought it about; that an attempt failed concerns that attempt alone.
func (c *Core) handleSnapshotStatus(now Instant, m *raftpb.Message, p *peer) {
	c.heard(now, p)
	o := p.offer
	switch {
	case m.Reason == raftpb.ReasonNone && c.log.holds(m.LogIndex, m.LogTerm):
		moved := p.acknowledged(entryID{Index: m.LogIndex, Term: m.LogTerm})
		c.leaveSnapshot(p)
		if moved {
			c.advanceCommit(now)
		}
		if c.role == RoleLeader {
			c.transferProgressed(p)
		}
	case m.Reason == raftpb.ReasonNone && p.state == ProgressSnapshot && o.stream != 0 && o.stream == m.HintIndex && m.LogIndex < c.log.compacted():
		// It came to its end, but the log is gone behind it meanwhile: the follower needs another one.
		o.stream, o.failures, o.tried = 0, 0, nil
		p.failures = 0
	case m.Reason != raftpb.ReasonNone && p.state == ProgressSnapshot && o.stream != 0 && o.stream == m.HintIndex:
		c.event(Event{Kind: EventSnapshotFailed, Replica: p.id, ID: o.source, Reason: m.Reason})
		o.failures++
		p.failures++
		o.passOver()
	default:
		c.dropped++
	}
}

// leaveSnapshot goes on behind what the follower holds, once that is where this log begins or further.
func (c *Core) leaveSnapshot(p *peer) {
	if p.state == ProgressSnapshot && p.match >= c.log.compacted() {
		p.failures = 0
		c.probeFrom(p, p.match+1)
	}
}
