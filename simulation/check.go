package simulation

import (
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

func keyOf(p *place) logdb.ReplicaKey {
	return logdb.ReplicaKey{ShardID: p.shard.id, ReplicaID: uint64(p.host.index + 1)}
}

func keyOfShard(s *shard, h *host) logdb.ReplicaKey {
	return logdb.ReplicaKey{ShardID: s.id, ReplicaID: uint64(h.index + 1)}
}

// shardAt returns the shard of that number as a host knows it: a host that was left out when the shard was rebuilt has a former life of it.
func (w *World) shardAt(h *host, id uint64) *shard {
	if id == 0 || id > uint64(len(w.shards)) {
		return nil
	}
	if p := h.places[id-1]; p != nil {
		return p.shard
	}
	return w.shards[id-1]
}

// sent looks at a message as it leaves a host.
func (w *World) sent(h *host, to int, m *raftpb.Message) {
	w.trace.add(record{at: w.now, kind: recordSend, detail: uint8(m.Type), host: int32(h.index), other: int32(to), shard: m.ShardID,
		numbers: [6]uint64{m.Term, m.LogIndex, m.LogTerm, m.Commit, m.Request<<8 | uint64(m.Reason), m.HintIndex}})
	s := w.shardAt(h, m.ShardID)
	if s == nil {
		w.violate("addressing", "host %d sends %v", h.index+1, m)
		return
	}
	if h.engine.StorageFailure() != nil && promising(m) {
		w.violate("failed storage", "shard %d: replica %d sends %v in term %d after a write of its log store failed", s.id, m.From, m.Type, m.Term)
	}
	w.checkFenced(h, s, m)
	switch m.Type {
	case raftpb.MessageReplicate, raftpb.MessageProbe, raftpb.MessageHeartbeat, raftpb.MessageInstallSnapshot:
		w.checkLeader(h, s, m)
	case raftpb.MessageVote:
		w.checkVote(h, s, m, m.From)
	case raftpb.MessageVoteResponse:
		if m.Reason == raftpb.ReasonNone {
			w.checkVote(h, s, m, m.To)
		}
	case raftpb.MessageReplicateResponse:
		if m.Reason == raftpb.ReasonNone {
			w.checkAcknowledgement(h, m)
		}
	case raftpb.MessageHeartbeatResponse, raftpb.MessageSnapshotStatus:
		if m.Reason == raftpb.ReasonNone {
			w.checkAcknowledgement(h, m)
		}
	case raftpb.MessageTimeoutNow:
		if p := h.places[s.id-1]; p != nil {
			p.handsOver = true
		}
		w.checkHandOver(h, s, m)
	case raftpb.MessageSnapshotPull:
		if m.HintTerm > 0 && s.pulls[m.HintIndex] == m.HintTerm { // what was to follow is asked for again
			w.counters.add(countResumed, 1)
		}
		s.pulls[m.HintIndex] = m.HintTerm
	case raftpb.MessagePropose:
		w.counters.add(countForwarded, 1)
	}
}

// promising says that a message promises something, or asks for leadership: a host whose storage failed does neither (R9).
func promising(m *raftpb.Message) bool {
	switch m.Type {
	case raftpb.MessageVote, raftpb.MessagePreVote:
		return true
	case raftpb.MessageVoteResponse, raftpb.MessagePreVoteResponse, raftpb.MessageReplicateResponse, raftpb.MessageHeartbeatResponse:
		return m.Reason == raftpb.ReasonNone
	}
	return false
}

// forgot says that a replica does not know all that it promised, and is not healed.
func (p *place) forgot() bool { return p.lost && !p.healed && (p.hurt == 0 || p.hurt != p.host.life) }

// sound says that a replica has lost nothing of what it promised since it began, or began anew because it had: it may lose that.
func (p *place) sound() bool { return !p.lost || p.healed }

// checkLeader: at most one replica, in one session, leads a term (election safety), and announces only what is committed.
func (w *World) checkLeader(h *host, s *shard, m *raftpb.Message) {
	if s.witnesses[h.index] {
		w.violate("witness", "shard %d: replica %d is a witness and leads term %d", s.id, m.From, m.Term)
	}
	mine := claim{m.From, m.FromSession}
	known, claimed := s.leaders[m.Term]
	switch {
	case !claimed && s.successor != nil:
		w.violate("former life", "shard %d: replica %d leads term %d of a shard that was rebuilt without it", s.id, m.From, m.Term)
	case !claimed:
		s.leaders[m.Term] = mine
		s.newestTerm = max(s.newestTerm, m.Term)
		w.counters.add(countElections, 1)
		h.leaderChecks = append(h.leaderChecks, leaderCheck{s, m.Term})
		if d := h.disk.durable[logdb.ReplicaKey{ShardID: s.id, ReplicaID: m.From}]; d == nil || d.state.Term < m.Term {
			w.violate("promises", "shard %d: replica %d leads term %d before that is durable", s.id, m.From, m.Term)
		}
	case known != mine:
		w.violate("election safety", "shard %d term %d is led by replica %d in session %x and by replica %d in session %x", s.id, m.Term,
			known.replica, known.session, m.From, m.FromSession)
	}
	if m.Commit > s.proven {
		h.commitChecks = append(h.commitChecks, commitCheck{s, m.Commit, m.Term})
	}
}

// checkAnnounced looks at what was announced once its sender has handed over its writes: a membership that it has just appended is in
// effect, and may have decided it.
func (w *World) checkAnnounced(h *host, check commitCheck) {
	s := check.shard
	s.proveByTime(check.commit, check.term)
	if check.commit > s.proven {
		w.violate("commit", "shard %d: replica %d announces commit %d in term %d; a majority holds durably, in the term of the entry, only up to %d",
			s.id, h.index+1, check.commit, check.term, s.proven)
	}
}

// checkVote: a replica gives one vote in a term, and only a durable one is told (R6).
func (w *World) checkVote(h *host, s *shard, m *raftpb.Message, candidate uint64) {
	key := voteKey{m.From, m.FromIncarnation, m.Term}
	if before, voted := s.votes[key]; voted && before != candidate {
		w.violate("one vote", "shard %d: replica %d votes in term %d for %d and for %d", s.id, m.From, m.Term, before, candidate)
	}
	s.votes[key] = candidate
	d := h.disk.durable[logdb.ReplicaKey{ShardID: s.id, ReplicaID: m.From}]
	if d == nil || d.state.Term < m.Term || d.state.Term == m.Term && d.state.Vote != candidate {
		w.violate("promises", "shard %d: replica %d tells its vote for %d in term %d before it is durable", s.id, m.From, candidate, m.Term)
	}
	if p := h.places[s.id-1]; p != nil && p.forgot() && !p.anew() && d != nil && m.Type == raftpb.MessageVoteResponse {
		w.violate("lost promises", "shard %d: replica %d votes in term %d although its storage lost what it had promised", s.id, m.From, m.Term)
	}
}

// checkAcknowledgement: what is acknowledged is durable (R6).
func (w *World) checkAcknowledgement(h *host, m *raftpb.Message) {
	d := h.disk.durable[logdb.ReplicaKey{ShardID: m.ShardID, ReplicaID: m.From}]
	if d == nil && m.LogIndex > 0 || d != nil && !d.holds(m.LogIndex, m.LogTerm) {
		w.violate("promises", "shard %d: replica %d acknowledges entry %d of term %d, which is not durable there (%v)", m.ShardID, m.From,
			m.LogIndex, m.LogTerm, m.Type)
	}
}

// checkWrite looks at a Save as the engine hands it over: it follows the log, agrees with what others wrote at the same place
// (log matching), and cuts nothing that is committed.
func (w *World) checkWrite(h *host, u *update) {
	w.happened++
	s := w.shardAt(h, u.key.ShardID)
	m := h.disk.memory[u.key]
	if m == nil {
		m = &mirror{}
		h.disk.memory[u.key] = m
	}
	start := m.last() + 1
	if u.installed {
		w.checkInstalled(h.places[s.id-1], m.installing)
	}
	if u.install.index != 0 {
		w.checkInstall(h, s, m, u)
		start = u.install.index + 1
	}
	if u.truncate != 0 {
		start = min(start, u.truncate)
		w.counters.add(countTruncations, 1)
	}
	if len(u.entries) > 0 && u.first != start {
		w.violate("log", "shard %d: replica %d writes entries from %d on, its log ends at %d", s.id, u.key.ReplicaID, u.first, start-1)
		return
	}
	if u.stateSet && u.state.Term < m.state.Term {
		w.violate("log", "shard %d: replica %d goes back from term %d to %d", s.id, u.key.ReplicaID, m.state.Term, u.state.Term)
	}
	// A command of an earlier term is one that its leader found uncommitted, in front of the no-op that it has to commit.
	if h.disk.full && u.lastCommand > m.last() && u.entries[u.lastCommand-u.first].term >= max(u.state.Term, m.state.Term) {
		w.violate("full disk", "shard %d: replica %d appends the command at entry %d although its disk is below the reserve", s.id,
			u.key.ReplicaID, u.lastCommand)
	}
	var cut []entry
	if u.truncate != 0 && u.truncate <= m.last() {
		cut = append(cut, m.entries[u.truncate-1:]...)
	}
	w.checkCampaign(h, u, m.state)
	m.apply(u)
	decided := s.decidedBefore(m.state.Term + 1)
	for i, old := range cut {
		index := u.truncate + uint64(i)
		if index <= decided && s.committed[index-1].term == old.term && !m.holds(index, old.term) {
			w.violate("leader completeness", "shard %d: replica %d cuts entry %d of term %d, which is committed", s.id, u.key.ReplicaID, index, old.term)
		}
	}
	for i := range u.entries {
		w.checkMatching(s, m, u.first+uint64(i), u.key.ReplicaID)
	}
	if u.configured { // with another membership in effect, what was not decided may be
		for index := s.proven + 1; index <= m.last(); index++ {
			s.prove(index, m.state.Term)
		}
	}
}

// checkMatching: two logs with the same term at an index are equal up to there. It is enough that the entry and the term
// before it are.
func (w *World) checkMatching(s *shard, m *mirror, index, replica uint64) {
	e := m.entries[index-1]
	previous := uint64(0)
	if index > 1 {
		previous = m.entries[index-2].term
	}
	v := s.variant(index, e.term)
	switch {
	case v == nil:
		s.addVariant(index, variant{entry: e, previousTerm: previous, leader: uint8(replica - 1)})
	case e.hash == 0 && s.witnesses[replica-1]:
	case v.hash == 0:
		v.hash = e.hash
	case v.hash != e.hash:
		w.violate("log matching", "shard %d: replica %d writes another entry %d of term %d than was there before (%x, %x)", s.id, replica, index, e.term, e.hash, v.hash)
	case v.previousTerm != previous:
		w.violate("log matching", "shard %d: entry %d of term %d follows an entry of term %d at replica %d, of term %d elsewhere", s.id,
			index, e.term, previous, replica, v.previousTerm)
	}
}

// checkDurable follows writes that became durable.
func (w *World) checkDurable(h *host, m *mirror, u *update) {
	s := w.shardAt(h, u.key.ShardID)
	own := voter{host: h.index, incarnation: m.incarnation}
	if s.begun[own] == 0 {
		s.begun[own] = max(1, w.now)
	}
	if p := h.places[s.id-1]; p.forgot() && s.begun[own] <= p.lostAt {
		return // the votes and acknowledgements of what lost its state do not count (R15)
	}
	for i := range u.entries {
		if term := u.entries[i].term; term == m.state.Term {
			s.proveDurable(u.first+uint64(i), term, voter{host: h.index, incarnation: m.incarnation})
		}
	}
}

// checkLeaderComplete: who leads a term has everything that was committed in the terms before (leader completeness).
func (w *World) checkLeaderComplete(h *host, check leaderCheck) {
	s := check.shard
	m := h.disk.memory[logdb.ReplicaKey{ShardID: s.id, ReplicaID: uint64(h.index + 1)}]
	index := s.decidedBefore(check.term)
	if index == 0 {
		return
	}
	if term := s.committed[index-1].term; m == nil || !m.holds(index, term) {
		w.violate("leader completeness", "shard %d: replica %d leads term %d without entry %d of term %d, which is committed", s.id, h.index+1,
			check.term, index, term)
	}
}

// applied looks at a command as a state machine is given it.
func (w *World) applied(m *machine, index uint64, body []byte, operation uint64) {
	w.happened++
	h, s := m.host, m.shard
	hash := hashBytes(uint64(raftpb.KindCommands), body)
	w.trace.add(record{at: w.now, kind: recordApply, host: int32(h.index), shard: s.id, numbers: [6]uint64{index, operation, m.state}})
	d := h.disk.durable[logdb.ReplicaKey{ShardID: s.id, ReplicaID: uint64(h.index + 1)}]
	if d == nil || index > d.last() || s.sessions.body(d.entries[index-1].hash) != hash {
		w.violate("apply", "shard %d: replica %d applies entry %d, which is not durable there", s.id, h.index+1, index)
		return
	}
	if index <= m.index {
		w.violate("apply", "shard %d: replica %d applies entry %d after %d", s.id, h.index+1, index, m.index)
		return
	}
	s.proveByTime(index, d.entries[index-1].term)
	if index > s.proven {
		w.violate("commit", "shard %d: replica %d applies entry %d; a majority holds durably, in the term of the entry, only up to %d", s.id,
			h.index+1, index, s.proven)
		return
	}
	w.extendCommitted(s, d, index)
	if e := s.committed[index-1]; e != d.entries[index-1] {
		w.violate("state machine safety", "shard %d: replica %d applies entry %d of term %d, decided was one of term %d", s.id, h.index+1, index,
			d.entries[index-1].term, e.term)
		return
	}
	s.checkShown(h, index)
	c := s.command(index)
	if c.operation == 0 {
		*c = command{operation: operation, state: m.state, hash: hash}
		w.clients.decided(s, index, operation, m.values[body[8]%keyCount].version)
		return
	}
	if c.operation != operation || c.state != m.state || c.hash != hash {
		w.violate("state machine safety", "shard %d: replica %d applies operation %d at entry %d and gets state %x, others operation %d and %x",
			s.id, h.index+1, operation, index, m.state, c.operation, c.state)
	}
}

// checkStateHash: the users' machines that have applied the same are in the same state.
func (w *World) checkStateHash(m *machine, hash uint64) {
	c := m.shard.command(m.index)
	switch {
	case c == nil || w.violation != nil:
	case !c.asked:
		c.asked, c.subject = true, hash
	case c.subject != hash:
		w.violate("state machine safety", "shard %d: after entry %d the state of replica %d has the hash %x, that of another %x", m.shard.id, m.index,
			m.host.index+1, hash, c.subject)
	}
}

// extendCommitted takes over what was decided up to index from the first log that applies it.
func (w *World) extendCommitted(s *shard, d *mirror, index uint64) {
	for uint64(len(s.committed)) < index {
		s.committed = append(s.committed, d.entries[len(s.committed)])
		s.commands = append(s.commands, command{})
		s.followSessions(uint64(len(s.committed)), s.committed[len(s.committed)-1])
	}
	s.followHealing()
}

// reported looks at what an engine reports.
func (w *World) reported(h *host, e engine.Event) {
	name := eventNames[e.Kind]
	w.trace.add(record{at: w.now, kind: recordEvent, host: int32(h.index), shard: e.ShardID, text: name,
		numbers: [6]uint64{e.Term, e.Leader, e.Peer}})
	switch e.Kind {
	case engine.EventReplicaFenced:
		if !w.options.IgnoreFences && !w.askedToFail(h, e) {
			w.violate("assertion", "host %d: shard %d is fenced: %v", h.index+1, e.ShardID, e.Err)
		}
	case engine.EventReplicaQuarantined:
		if w.askedToFail(h, e) || w.mayBeQuarantined(h, e) {
			return
		}
		w.violate("quarantine", "host %d: shard %d: %v", h.index+1, e.ShardID, e.Err)
	case engine.EventAuditUndecided:
		w.violate("audit", "host %d: shard %d: replicas differ at index %d", h.index+1, e.ShardID, e.Index)
	case engine.EventSecondLeader:
		w.counters.add(countSecondLeader, 1)
		w.violate("election safety", "host %d: shard %d: replica %d claims term %d too", h.index+1, e.ShardID, e.Peer, e.Term)
	case engine.EventReplicaHealed:
		w.counters.add(countHealed, 1)
	case engine.EventReplicaHealFailed:
		switch life := h.life; {
		case h.disk.failed:
		case h.snapshots.failures() > 0, h.machines.failures() > 0: // it is no replica any more until it is started anew
			w.after(int64(500*time.Millisecond), func() { h.kill(life) })
		default:
			w.violate("healing", "host %d: shard %d: %v", h.index+1, e.ShardID, e.Err)
		}
	case engine.EventSnapshotDamaged, engine.EventReplicaDamaged:
		w.checkDamagedSnapshot(h, e)
	case engine.EventReplicaRemoved:
		w.checkRemoved(h, e)
	case engine.EventReplicaAbstaining:
		w.counters.add(countAbstained, 1)
		w.checkAbstaining(h, e)
	}
}

// checkBegunAnew looks at a write that puts a new incarnation in the place of what was stored, once it is there after a power cut too:
// whether or not anybody was told, the next start finds it. Only a replica that lost something begins anew, and none before the shard
// knows it by what it becomes.
func (w *World) checkBegunAnew(p *place, incarnation uint64) {
	switch {
	case p.imports(incarnation):
		return
	case p.repairing:
		p.repairing, p.lost, p.lostAt = false, true, w.now
		w.counters.add(countRepaired, 1)
	case p.resumed:
		w.lose(p)
	case !p.lost:
		w.violate("healing", "%s threw its state away, but its storage lost nothing", p.describe())
	}
	p.healed, p.removing = true, false
	if !p.shard.admits(p.host.index, incarnation) {
		w.violate("healing", "%s threw its state away before the membership that heals it was decided", p.describe())
	}
}

// checkAbstaining: only a replica whose storage lost something abstains, or is taken for one that did (R14). The event comes
// from the replica itself, or from a leader.
func (w *World) checkAbstaining(h *host, e engine.Event) {
	if e.Peer == 0 || e.Peer > uint64(len(w.hosts)) {
		return
	}
	p := w.hosts[e.Peer-1].places[e.ShardID-1]
	switch {
	case p == nil || p.lost || p.shard.successor != nil || w.shardAt(h, e.ShardID) != p.shard:
	case p.resumed && h != p.host: // a leader has heard late what it said before
	case p.repairing || p.replaced(): // who is to be repaired, and leads, takes no part from then on, unless a restart forgets it
		w.lose(p)
		p.rests = true
	default:
		w.violate("promises", "host %d says that replica %d of shard %d lost what it had promised, but its storage lost nothing", h.index+1,
			e.Peer, e.ShardID)
	}
}

var eventNames = map[engine.EventKind]string{
	engine.EventLeaderChanged: "leader changed", engine.EventReplicaReady: "ready", engine.EventReplicaStopped: "stopped",
	engine.EventReplicaQuarantined: "quarantined", engine.EventReplicaFenced: "fenced", engine.EventReplicaAbstaining: "abstaining",
	engine.EventReplicaDamaged: "damaged", engine.EventReplicaHealed: "healed", engine.EventReplicaHealFailed: "heal failed", engine.EventDataLost: "data lost", engine.EventWitnessStandsIn: "witness stands in", engine.EventReplicaBootstrapped: "bootstrapped", engine.EventReplicaRemoved: "removed", engine.EventMembershipChanged: "membership",
	engine.EventProposalDropped: "proposal dropped", engine.EventReplicationRejected: "replication rejected",
	engine.EventFollowerOffline: "follower offline", engine.EventFollowerOnline: "follower online",
	engine.EventFollowerCreated: "follower created", engine.EventFollowerDestroyed: "follower destroyed", engine.EventFollowerStuck: "follower stuck",
	engine.EventFollowerFailed: "follower failed", engine.EventSecondLeader: "second leader", engine.EventConnectionUp: "connection up",
	engine.EventConnectionDown: "connection down", engine.EventStorageFailed: "storage failed", engine.EventStorageStalled: "storage stalled",
	engine.EventStorageRecovered: "storage recovered", engine.EventAuditUndecided: "audit undecided",
	engine.EventSnapshotDamaged: "snapshot damaged", engine.EventSnapshotFailed: "snapshot failed", engine.EventSnapshotTaken: "snapshot taken",
}
