package simulation

import (
	"slices"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// install is what a Save says of a snapshot behind which a log begins anew.
type install struct {
	index, term uint64
	config      uint64 // index of its membership
	entries     []entry
}

func installOf(meta *raftpb.SnapshotMeta) install {
	return install{index: meta.Index, term: meta.Term, config: meta.Config.Index}
}

// checkInstall looks at a Save that begins a log anew: behind an entry that is decided, with the membership that is in effect there; the log
// does not hold that entry, or it would have had no need of it, and nothing that goes is decided.
func (w *World) checkInstall(h *host, s *shard, m *mirror, u *update) {
	at := &u.install
	w.counters.add(countInstalls, 1)
	w.nemesis.duringInstallation(h)
	s.proveByTime(at.index, at.term)
	if at.index > s.proven {
		w.violate("commit", "shard %d: replica %d begins its log behind entry %d; a majority holds durably, in the term of the entry, only up to %d", s.id,
			u.key.ReplicaID, at.index, s.proven)
		return
	}
	at.entries = s.history(at.index, at.term)
	if uint64(len(at.entries)) != at.index {
		w.violate("snapshot", "shard %d: replica %d begins its log behind entry %d of term %d, which nobody ever wrote", s.id, u.key.ReplicaID, at.index, at.term)
		return
	}
	if n := min(at.index, uint64(len(s.committed))); n > 0 && at.entries[n-1] != s.committed[n-1] {
		w.violate("state machine safety", "shard %d: replica %d begins its log behind entry %d of term %d, decided was another one", s.id, u.key.ReplicaID, at.index, at.term)
		return
	}
	if m.holds(at.index, at.term) {
		w.violate("snapshot", "shard %d: replica %d begins its log behind entry %d of term %d, which it holds", s.id, u.key.ReplicaID, at.index, at.term)
	}
	for index := at.index + 1; index <= min(m.last(), uint64(len(s.committed))); index++ {
		if m.holds(index, s.committed[index-1].term) {
			w.violate("leader completeness", "shard %d: replica %d throws entry %d of term %d away for a snapshot, which is committed", s.id, u.key.ReplicaID, index,
				s.committed[index-1].term)
			return
		}
	}
	var newest uint64
	known := mirror{entries: at.entries}
	for i := range s.configurations {
		if c := &s.configurations[i]; c.index > newest && known.holds(c.index, c.term) {
			newest = c.index
		}
	}
	if at.config != newest {
		w.violate("membership", "shard %d: replica %d begins its log behind entry %d with membership %d, in effect there is %d", s.id, u.key.ReplicaID, at.index,
			at.config, newest)
	}
}

// history returns the entries up to one that was written somewhere: what is before it follows from it (log matching).
func (s *shard) history(index, term uint64) []entry {
	entries := make([]entry, index)
	for at := index; at > 0; at-- {
		if at <= uint64(len(s.committed)) && s.committed[at-1].term == term {
			copy(entries, s.committed[:at])
			return entries
		}
		v := s.variant(at, term)
		if v == nil {
			return nil
		}
		entries[at-1], term = v.entry, v.previousTerm
	}
	return entries
}

// keeps says whether what a replica has applied up to an entry is durable without its log, as far as that is up to its state machine.
func (p *place) keeps(index uint64) bool {
	return !p.shard.machineKind.onDisk() || p.witness() || index <= p.synced
}

// checkInstalled looks at a Save that says that a snapshot is installed: a state machine on disk has it for good then, for nothing recovers it again.
func (w *World) checkInstalled(p *place, installing uint64) {
	if !p.keeps(installing) {
		w.violate("snapshot", "%s says that the snapshot of entry %d is installed, and its state machine is durable up to %d", p.describe(), installing, p.synced)
	}
}

// recovered looks at a state that a machine has taken over from a snapshot: it is the one that the shard was in after the last command that is
// in it.
func (w *World) recovered(m *machine) {
	w.happened++
	if m.index == 0 {
		return
	}
	if c := m.shard.command(m.index); c == nil || c.operation == 0 || c.state != m.state {
		w.violate("state machine safety", "shard %d: replica %d recovers a state %x after entry %d, in which the shard never was", m.shard.id, m.host.index+1,
			m.state, m.index)
	}
}

// interrupted counts the installations that a crash finds not ended.
func (d *disk) interrupted() {
	for _, key := range d.keys {
		if m := d.memory[key]; m != nil && m.installing != 0 {
			d.host.world.counters.add(countInterrupted, 1)
		}
	}
}

// removals returns what the log of a replica was each time when it was removed, since what a power cut may go back to. Any of that may be
// found again: what a replica wrote last and its removal may both be under way, and only the first of them there after the cut.
func (d *disk) removals(key logdb.ReplicaKey) (removed []*mirror) {
	state := map[logdb.ReplicaKey]*mirror{}
	if m := d.older[key]; m != nil {
		state[key] = m.clone()
	}
	for _, writes := range [][]*write{d.trail, d.uncertain} {
		for _, wr := range writes {
			for i := range wr.updates {
				u := &wr.updates[i]
				if u.key != key {
					continue
				}
				if u.remove && state[key] != nil {
					removed = append(removed, state[key])
				}
				applyTo(state, u)
			}
		}
	}
	return removed
}

// prefix gives a log that was read from a store the entries that are compacted there, which it has no more. They are known from what was
// handed to the store, if that was the same log: of the same incarnation if there is such. A replica may have been a witness before, of
// which the log has the same entries without what is in them.
func (d *disk) prefix(m *mirror, stored *raftpb.Stored, known ...*mirror) bool {
	m.compacted, m.floor, m.begins = stored.Compacted, stored.Compacted, stored.Compacted
	if stored.Installing != nil {
		m.installing = stored.Installing.Index
	}
	if stored.Compacted == 0 {
		return true
	}
	var same *mirror
	for _, k := range known {
		if k != nil && k.holds(stored.Compacted, stored.CompactedTerm) && (same == nil || same.incarnation != m.incarnation && k.incarnation == m.incarnation) {
			same = k
		}
	}
	if same == nil {
		return false
	}
	m.entries = slices.Clone(same.entries[:stored.Compacted])
	return true
}

// checkCompaction looks at log that is let go of: it is decided, and of the log that is there; what a restart needs of it is in a snapshot,
// which the start shows.
func (w *World) checkCompaction(h *host, u *update, term uint64) {
	s := w.shardAt(h, u.key.ShardID)
	m := h.disk.memory[u.key]
	w.counters.add(countCompactions, 1)
	switch {
	case s == nil:
	case m == nil || !m.holds(u.compact, term):
		w.violate("log", "shard %d: replica %d lets go of entry %d of term %d, which it does not hold", s.id, u.key.ReplicaID, u.compact, term)
	case u.compact < m.begins:
		w.violate("log", "shard %d: replica %d lets go of the log up to entry %d after %d", s.id, u.key.ReplicaID, u.compact, m.begins)
	case m.installing != 0:
		w.violate("snapshot", "shard %d: replica %d lets go of the log up to entry %d before its state machine has recovered", s.id, u.key.ReplicaID, u.compact)
	case !h.places[s.id-1].keeps(u.compact):
		w.violate("snapshot", "shard %d: replica %d lets go of the log up to entry %d, and its state machine is durable up to %d", s.id, u.key.ReplicaID, u.compact,
			h.places[s.id-1].synced)
	default:
		s.proveByTime(u.compact, term)
		if u.compact > s.proven {
			w.violate("commit", "shard %d: replica %d lets go of entry %d, which is not decided", s.id, u.key.ReplicaID, u.compact)
		}
		m.apply(u)
	}
}
