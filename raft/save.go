package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// saveState knows what is still to be written, and what the writes under way will make durable. It is the gate of every
// promise (R6, R7).
type saveState struct {
	state       bool // (term, vote) changed since the last Save was made
	bootstrap   bool
	installing  *raftpb.SnapshotMeta // the log begins anew behind it with the next Save
	installed   bool                 // the next Save says that the state machine has recovered
	number      uint64               // of the last Save made
	stateNumber uint64               // of the Save that holds the present (term, vote), 0 if it was durable at the start
	saved       uint64               // all Saves up to this one are durable
	next        uint64               // first entry that is in no Save yet
	cut         uint64               // TruncateFrom of the next Save
	writes      deque[write]
}

// write is a Save under way. last falls when a truncation takes entries of it back: its completion then speaks only of
// what is left, however the same indexes were filled again since (R7).
type write struct {
	number, last uint64
}

// stateDurable says whether the present (term, vote) is durable: only then anything may be said in the term.
func (s *saveState) stateDurable() bool { return !s.state && s.saved >= s.stateNumber }

// truncate takes back the entries from index on. Batches from first on leave the store if they were handed to it.
func (s *saveState) truncate(first, index uint64) {
	if first < s.next {
		s.next = first
		if s.cut == 0 || first < s.cut {
			s.cut = first
		}
	}
	for i := range s.writes.len() {
		w := s.writes.at(i)
		w.last = min(w.last, index-1)
	}
}

// restart is for a log that begins anew: nothing that is under way speaks of it. What is said from now on waits for the write that
// says so, as for a new term.
func (s *saveState) restart(meta raftpb.SnapshotMeta) {
	s.installing, s.installed, s.state = &meta, false, true
	s.next, s.cut = meta.Index+1, 0
	for i := range s.writes.len() {
		s.writes.at(i).last = 0
	}
}

// due says whether there is something to write. A commit index alone is not.
func (c *Core) saveDue() bool {
	return c.save.state || c.save.bootstrap || c.save.installed || c.save.cut != 0 || c.save.next <= c.log.last
}

// emitSave makes one Save of all that is due. It carries the commit index along.
func (c *Core) emitSave(out *Output) {
	s := &c.save
	s.number++
	save := raftpb.Save{
		ShardID: c.options.ShardID, ReplicaID: c.options.ReplicaID, Number: s.number, MustSync: true,
		State: raftpb.HardState{Term: c.term, Vote: c.vote, Commit: c.commit}, StateChanged: true,
		Installing: s.installing, Installed: s.installed, TruncateFrom: s.cut,
	}
	if s.state {
		s.stateNumber = s.number
	}
	if s.bootstrap {
		bootstrap := c.bootstrap
		save.Bootstrap = &bootstrap
	}
	if s.next <= c.log.last {
		save.Batches = c.unsaved(out)
		save.Configs = c.unsavedConfigs()
		s.next = c.log.last + 1
	}
	s.writes.push(write{number: s.number, last: c.log.last})
	s.state, s.bootstrap, s.installing, s.installed, s.cut = false, false, nil, false, 0
	out.Saves = append(out.Saves, save)
}

// unsaved carves the batches that are in no Save yet from the output's arena. They are pinned.
func (c *Core) unsaved(out *Output) []raftpb.Batch {
	start := len(out.batches)
	i := c.log.pins.len()
	offset := c.log.runs.len() - i
	for i > 0 && c.log.runs.at(offset+i-1).first >= c.save.next {
		i--
	}
	for ; i < c.log.pins.len(); i++ {
		out.batches = append(out.batches, *c.log.pins.at(i))
	}
	return out.batches[start:len(out.batches):len(out.batches)]
}

func (c *Core) unsavedConfigs() []raftpb.ConfigRecord {
	i := len(c.configs)
	for i > 0 && c.configs[i-1].Index >= c.save.next {
		i--
	}
	if i == len(c.configs) {
		return nil
	}
	return append([]raftpb.ConfigRecord(nil), c.configs[i:]...)
}

// Saved says that write number, and all before it, are durable. Numbers that were never given out are ignored.
func (c *Core) Saved(now Instant, number uint64) {
	c.now = now
	s := &c.save
	if number <= s.saved || number > s.number || c.role == RoleStopped {
		return
	}
	wasDurable := s.stateDurable()
	s.saved = number
	durable := c.log.durable
	for s.writes.len() > 0 && s.writes.front().number <= number {
		durable = max(durable, s.writes.front().last)
		s.writes.popFront()
	}
	if !wasDurable && s.stateDurable() {
		c.ownVoteSaved(now)
	}
	if durable == c.log.durable {
		return
	}
	c.log.durable = durable
	c.passOver()
	c.unpin()
	if c.role == RoleLeader {
		c.advanceCommit(now)
		c.sendDurable()
	}
	if c.changing {
		c.continueChange(now)
	}
}

// unpin releases what neither a write nor the state machine waits for.
func (c *Core) unpin() { c.log.unpin(c.handed, c.save.next, c.options.MaxPinnedBytes) }

// sendDurable looks again at the followers that wait for what is durable here: who reported damage may get it from the store by now, and
// see sendLimit.
func (c *Core) sendDurable() {
	for _, p := range c.peers {
		c.sendDue = c.sendDue || p.damage == damageReported || p.headersOnly
	}
}
