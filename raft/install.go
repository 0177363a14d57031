package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// A replica that lacks what others have compacted gets a snapshot, in three steps. It fetches one: the engine does, as Output.Installs
// asks; meanwhile appends are answered busy, so that the leader waits instead of sending what is thrown away, heartbeats are answered as
// ever, and it does not campaign, since the membership that it knows may be long out of date; it goes on voting, which rests on
// the log that it still has. Then the log begins anew behind the snapshot (SnapshotReceived), with one write that everything said
// afterwards waits for (R25). Last the state machine recovers (SnapshotInstalled): until then nothing is handed over for apply,
// nor does the replica campaign, but it takes entries and votes.
//
// # Why what is thrown away is not needed
//
// A snapshot holds what is committed, and its entry (index, term) is. A log that holds that entry keeps everything, and its own entries
// are applied instead. One that does not can hold nothing at or above index that is or ever will be committed: where
// it differs from a committed entry at that index, what follows there was appended by leaders that lacked it. So the log is
// reset as a whole. If what went was more, as elections count, than the snapshot's entry, the replica enters a new term with the same write:
// it may have acknowledged some of it in this one, to a leader that would take less for lost data (R14).

// installState is a replica's own part.
type installState struct {
	offer      offered // the newest, to be answered
	failed     offered // the last that ended in vain, with the reason: its status may have been lost
	reason     raftpb.Reason
	toldOfLog  bool // a leader that did not make the offer sends log, which the engine knows
	recovering bool // the log begins behind a snapshot that the state machine has not recovered from
}

// offered names an attempt: of a leader, or, with leader 0, of this replica's own (see pull.go).
type offered struct{ leader, session, stream uint64 }

// beginInstall begins to fetch, or to expect, a snapshot.
func (c *Core) beginInstall() {
	c.installing = true
	if c.role == RolePreCandidate || c.role == RoleCandidate {
		c.becomeFollower(c.now, c.term)
	}
}

// endInstall is the end of the fetching.
func (c *Core) endInstall() {
	c.installing = false
	if c.role == RoleFollower {
		c.resetElectionTimer(c.now)
	}
}

// handleInstallSnapshot takes an offer of the leader, which repeats it until it is answered.
func (c *Core) handleInstallSnapshot(now Instant, m *raftpb.Message, _ *peer) {
	if !c.follow(now, m) {
		return
	}
	offer := offered{leader: m.From, session: m.FromSession, stream: m.HintIndex}
	if c.log.holds(m.LogIndex, m.LogTerm) { // its leader has compacted it, so it is committed
		c.ack.match = max(c.ack.match, m.LogIndex)
		c.setCommit(now, m.LogIndex)
	}
	switch {
	case m.LogIndex == 0:
		c.dropped++
	case m.LogIndex <= c.commit:
		if c.save.stateDurable() { // else what waits to be said would grow with every repetition
			c.answerOffer(offer, raftpb.ReasonNone)
		}
	case c.install.recovering:
	case c.installing && offer == c.install.offer:
	case c.installing: // the fetch goes on as long as something comes of it; it is the new offer that is answered
		c.fetchSnapshot(offer, m.HintTerm, string(m.Payload), entryID{Index: m.LogIndex, Term: m.LogTerm})
	case offer == c.install.failed:
		c.answerOffer(offer, c.install.reason)
	case c.refusesInstall() != raftpb.ReasonNone:
		c.answerOffer(offer, c.refusesInstall())
	case c.witness:
		c.installOnWitness(now, m)
	default:
		c.fetchSnapshot(offer, m.HintTerm, string(m.Payload), entryID{Index: m.LogIndex, Term: m.LogTerm})
	}
}

// refusesInstall decides before anything is begun.
func (c *Core) refusesInstall() raftpb.Reason {
	switch {
	case c.storage.halted() || c.quarantined:
		return raftpb.ReasonFailed
	case c.storage == StorageFull:
		return raftpb.ReasonFull
	}
	return raftpb.ReasonNone
}

// address is where the source is, if that is known: this replica may know no membership yet.
func (c *Core) fetchSnapshot(offer offered, source uint64, address string, least entryID) {
	if source == c.options.ReplicaID || source == 0 || offer.stream == 0 {
		c.dropped++
		return
	}
	c.install.offer, c.install.toldOfLog = offer, false
	c.beginInstall()
	c.installs = append(c.installs, Install{
		ShardID: c.options.ShardID, ReplicaID: c.options.ReplicaID, Leader: c.leader, Term: c.term,
		Source: source, Address: address, StreamID: offer.stream, LogIndex: least.Index, LogTerm: least.Term,
	})
}

// busyInstalling is for what a leader sends of its log while a snapshot is fetched. If it is not the leader that offered the snapshot it may need
// none: a source of which nothing comes is not worth waiting for.
func (c *Core) busyInstalling() {
	if c.installing && c.leader != 0 && c.leader != c.install.offer.leader && !c.install.toldOfLog {
		c.install.toldOfLog = true
		c.installs = append(c.installs, Install{
			ShardID: c.options.ShardID, ReplicaID: c.options.ReplicaID, Leader: c.leader, Term: c.term,
		})
	}
}

// installOnWitness takes the snapshot that is in the message: there is no state to fetch, and none to recover.
func (c *Core) installOnWitness(now Instant, m *raftpb.Message) {
	meta, err := raftpb.DecodeSnapshotMeta(m.Payload)
	if err != nil || meta.Index != m.LogIndex || meta.Term != m.LogTerm || meta.Term > c.term || !c.plausible(&meta) {
		c.dropped++
		return
	}
	c.restartLog(now, meta)
	c.save.installed, c.install.recovering = true, false
	c.answerOffer(offered{leader: m.From, session: m.FromSession, stream: m.HintIndex}, raftpb.ReasonNone)
}

// SnapshotReceived says that the snapshot that an Install asked for is durable here as a whole, in a file of its own. True: the log
// begins anew behind it; once the next Save is durable, which says so, the state machine has to be recovered from that file, and then
// SnapshotInstalled is called, or Quarantine if that fails. False: it is of no use, for the log got further meanwhile, or it is none of
// this shard's, and nothing has changed.
func (c *Core) SnapshotReceived(now Instant, meta raftpb.SnapshotMeta) bool {
	c.now = now
	if !c.installing {
		return false
	}
	c.endInstall()
	if c.role >= RoleAbstaining || c.role == RoleLeader {
		return false
	}
	if !c.plausible(&meta) {
		c.snapshotFailed(raftpb.ReasonDamaged)
		return false
	}
	if c.log.holds(meta.Index, meta.Term) {
		c.setCommit(now, meta.Index)
	}
	offer := c.install.offer
	switch {
	case meta.Index <= c.commit:
		c.answerOffer(offer, raftpb.ReasonNone)
		return false
	case meta.Term < c.log.terms.term(c.commit): // it contradicts what is committed here
		c.snapshotFailed(raftpb.ReasonConflict)
		return false
	}
	c.restartLog(now, meta)
	c.answerOffer(offer, raftpb.ReasonNone)
	return true
}

// plausible says that a snapshot can be one of this shard: it came from a peer.
func (c *Core) plausible(meta *raftpb.SnapshotMeta) bool {
	config := &meta.Config
	return meta.ShardID == c.options.ShardID && meta.Index > 0 && meta.Index < maxNumber && meta.Term > 0 && meta.Term < maxNumber &&
		config.Index > 0 && config.Index <= meta.Index && config.Membership.ID == config.Index && len(config.Membership.Members) > 0 &&
		config.Membership.Validate() == nil
}

// restartLog makes the log begin behind a snapshot. What is pending and was appended in front of it is in the snapshot or is not, which
// nobody here will see (R3). Writes under way speak of entries that are gone (R25).
func (c *Core) restartLog(now Instant, meta raftpb.SnapshotMeta) {
	begin, end := entryID{Index: meta.Index, Term: meta.Term}, c.log.lastEntry()
	switch {
	case meta.Term > c.term:
		c.becomeFollower(now, meta.Term)
	case !begin.atLeast(end):
		c.becomeFollower(now, c.term+1)
	}
	c.endPending(raftpb.ReasonNotLeader)
	c.log.reset(begin)
	c.commit, c.handed, c.applied = begin.Index, begin.Index, begin.Index
	c.apply = applyState{}
	c.tail, c.pull = tailState{}, pullState{}
	for _, p := range c.peers {
		p.reading, p.batches = 0, nil
	}
	c.ack.match, c.ack.sent = begin.Index, begin.Index
	c.save.restart(meta)
	c.install.recovering = true
	c.configs = []raftpb.ConfigRecord{meta.Config}
	c.useNewestConfig()
	c.endChangeWaits(&meta.Config.Membership, true)
	c.event(Event{Kind: EventSnapshotReceived, ID: begin.Index})
}

// SnapshotInstalled says that the state machine has recovered: from the snapshot of SnapshotReceived, or of Stored.Installing.
func (c *Core) SnapshotInstalled(now Instant) {
	c.now = now
	if c.install.recovering {
		c.install.recovering, c.save.installed = false, true
		if c.role == RoleFollower {
			c.resetElectionTimer(now)
		}
	}
}

// SnapshotFailed says that no snapshot came of an Install, and why; any reason but ReasonNone.
func (c *Core) SnapshotFailed(now Instant, reason raftpb.Reason) {
	c.now = now
	if c.installing {
		c.endInstall()
		c.snapshotFailed(reason)
	}
}

func (c *Core) snapshotFailed(reason raftpb.Reason) {
	if reason == raftpb.ReasonNone {
		reason = raftpb.ReasonFailed
	}
	offer := c.install.offer
	c.install.failed, c.install.reason = offer, reason
	c.answerOffer(offer, reason)
}

// answerOffer tells the leader of the day, if it is the one that made the offer. Another one finds out by what this replica says it holds.
// As everything in the outbox it leaves when the term is durable, and with the term the write that restarts the log.
func (c *Core) answerOffer(offer offered, reason raftpb.Reason) {
	if offer.leader == 0 || offer.leader != c.leader || offer.session != c.leaderSession || c.role != RoleFollower {
		return
	}
	m := c.toLeader(raftpb.MessageSnapshotStatus)
	m.HintIndex, m.Reason = offer.stream, reason
	if reason == raftpb.ReasonNone {
		m.LogIndex = min(c.commit, c.log.durable)
		m.LogTerm = c.log.terms.term(m.LogIndex)
	}
	c.post(m)
}
