package simulation

import (
	"slices"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// entry is one log entry as the checkers see it: who made it when, and a hash of what it holds.
type entry struct {
	term, hash uint64
}

// mirror is a second, plain record of what a replica's log holds, made from what the engine hands to the log store. The
// checkers look at it and never at the store, so that an error of the store cannot hide one of the engine.
type mirror struct {
	incarnation uint64
	state       raftpb.HardState
	entries     []entry // entries[i] has index i+1; those that are compacted, or came with a snapshot, too
	// compacted is up to where the log was said not to be needed, floor from where it began anew the last time: the store's begins in
	// between. installing is the snapshot that the state machine has not recovered from, 0 for none.
	compacted, floor, installing uint64
	// begins is where the log began when the store was opened, and what it was let go of up to since: a power cut may undo the last of that.
	begins uint64
}

func (m *mirror) last() uint64 { return uint64(len(m.entries)) }

func (m *mirror) lastTerm() uint64 {
	if len(m.entries) == 0 {
		return 0
	}
	return m.entries[len(m.entries)-1].term
}

// holds reports whether the log has an entry of that term at index. Index 0 is in front of every log.
func (m *mirror) holds(index, term uint64) bool {
	if index == 0 {
		return true
	}
	return index <= m.last() && m.entries[index-1].term == term
}

func (m *mirror) clone() *mirror {
	c := *m
	c.entries = append([]entry(nil), m.entries...)
	return &c
}

// update is what one Save changes.
type update struct {
	key         logdb.ReplicaKey
	incarnation uint64 // 0: unchanged
	state       raftpb.HardState
	stateSet    bool
	truncate    uint64
	first       uint64
	entries     []entry
	lastCommand uint64 // the highest index of a user's command among the entries
	remove      bool
	configured  bool // a membership is among the entries
	install     install
	installed   bool
	compact     uint64
	mustSync    bool
}

// apply changes the mirror and returns from which index on it differs now.
func (m *mirror) apply(u *update) {
	if u.incarnation != 0 {
		m.incarnation = u.incarnation
	}
	if u.stateSet {
		m.state = u.state
	}
	if u.install.index != 0 {
		m.entries = slices.Clone(u.install.entries)
		m.compacted, m.floor, m.installing, m.begins = u.install.index, u.install.index, u.install.index, u.install.index
	}
	if u.installed {
		m.installing = 0
	}
	m.compacted, m.begins = max(m.compacted, u.compact), max(m.begins, u.compact)
	if u.truncate != 0 && u.truncate <= m.last() {
		m.entries = m.entries[:u.truncate-1]
	}
	m.entries = append(m.entries, u.entries...)
}

// updateOf notes what a Save holds.
func updateOf(save *raftpb.Save, u *update) {
	entries := u.entries[:0]
	*u = update{
		key: logdb.ReplicaKey{ShardID: save.ShardID, ReplicaID: save.ReplicaID}, state: save.State, stateSet: save.StateChanged,
		truncate: save.TruncateFrom, configured: len(save.Configs) > 0,
	}
	u.installed, u.mustSync = save.Installed, save.MustSync
	if save.Installing != nil {
		u.install = installOf(save.Installing)
	}
	if save.Bootstrap != nil {
		u.incarnation = save.Bootstrap.Incarnation
	}
	if len(save.Batches) > 0 {
		u.first = save.Batches[0].First()
	}
	for _, batch := range save.Batches {
		term := batch.Term()
		kind := uint64(batch.Kind())
		if batch.Kind() == raftpb.KindCommands {
			u.lastCommand = batch.Last()
		}
		if batch.Flags()&raftpb.FlagBodyOmitted != 0 {
			for range batch.Count() {
				entries = append(entries, entry{term: term}) // what it holds is not known
			}
			continue
		}
		iterator := batch.Iterator()
		for iterator.Next() {
			entries = append(entries, entry{term: term, hash: hashEntry(kind, iterator.Command(), iterator.Session())})
		}
	}
	u.entries = entries
}

// hashBytes is fast and good enough: it only has to tell entries of one run apart.
func hashBytes(seed uint64, data []byte) uint64 {
	h := mix(seed + uint64(len(data)))
	for len(data) >= 8 {
		word := uint64(data[0]) | uint64(data[1])<<8 | uint64(data[2])<<16 | uint64(data[3])<<24 |
			uint64(data[4])<<32 | uint64(data[5])<<40 | uint64(data[6])<<48 | uint64(data[7])<<56
		h = (h ^ word) * 0x9e3779b97f4a7c15
		h ^= h >> 32
		data = data[8:]
	}
	for _, b := range data {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	return mix(h)
}
