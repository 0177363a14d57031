package simulation

import (
	"encoding/binary"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// sessionFate is what becomes of a call, or of one attempt or entry of it.
type sessionFate uint8

const (
	fateDone      sessionFate = 0
	fateExpired   sessionFate = 1 << (iota - 1) // there is no such session
	fateForgotten                               // it was acknowledged
	fateAbsent                                  // the state machine keeps none
	fateUnknown
	fateRefused
	fateWrong
)

var fateNames = map[sessionFate]string{
	fateDone: "done", fateExpired: "expired", fateForgotten: "forgotten", fateAbsent: "no sessions", fateUnknown: "unknown", fateRefused: "refused", fateWrong: "wrong",
}

// sessionTable is what the sessions of a shard are by the rules that package rsm states, worked out here from what is decided and without anything of the
// product: each entry of a session is shown to state machines, or repeats a call that was shown, or is refused with a certain error. So it is
// known of every entry whether it may be shown, of every answer whether it can be, and of every replica whether its table is that of the others.
type sessionTable struct {
	keeps   bool                    // the state machine has sessions
	entries map[uint64]sessionEntry // by the hash of what a log holds; looked up, never iterated
	hidden  map[uint64]sessionFate  // by index: entries that are not shown. fateDone: a repeated call, or no call
	list    []*tableSession         // the one that was used last is the last
}

// sessionEntry is an entry of a log that belongs to a session.
type sessionEntry struct {
	client, series, responded uint64
	capacity                  uint64 // of one that opens it
	body                      uint64 // hash of the command
}

type tableSession struct {
	client, responded uint64
	done              []uint64 // calls above responded that were shown
}

func newSessionTable(keeps bool) *sessionTable {
	return &sessionTable{keeps: keeps, entries: map[uint64]sessionEntry{}, hidden: map[uint64]sessionFate{}}
}

// hashEntry is a hash of what an entry holds.
func hashEntry(kind uint64, command []byte, fields raftpb.SessionFields) uint64 {
	if fields.Client == 0 {
		return hashBytes(kind, command)
	}
	return hashBytes(kind^mix(fields.Client^mix(fields.Series^mix(fields.Responded))), command)
}

// note remembers the entries of sessions that a log is to hold.
func (t *sessionTable) note(save *raftpb.Save) {
	if t == nil {
		return
	}
	for _, batch := range save.Batches {
		if batch.Flags()&raftpb.FlagSessions == 0 || batch.Flags()&raftpb.FlagBodyOmitted != 0 {
			continue
		}
		kind := uint64(batch.Kind())
		for iterator := batch.Iterator(); iterator.Next(); {
			fields, command := iterator.Session(), iterator.Command()
			if fields.Client == 0 {
				continue
			}
			hash := hashEntry(kind, command, fields)
			if _, known := t.entries[hash]; known {
				continue
			}
			e := sessionEntry{client: fields.Client, series: fields.Series, responded: fields.Responded, body: hashBytes(kind, command)}
			if e.series == rsm.SeriesOpen {
				e.capacity, _ = binary.Uvarint(command)
			}
			t.entries[hash] = e
		}
	}
}

// body returns the hash of an entry's command.
func (t *sessionTable) body(hash uint64) uint64 {
	if t != nil {
		if e, ok := t.entries[hash]; ok {
			return e.body
		}
	}
	return hash
}

// follow goes on with the next entry that is decided.
func (s *shard) followSessions(index uint64, decided entry) {
	t := s.sessions
	if t == nil {
		return
	}
	e, ok := t.entries[decided.hash]
	if !ok {
		return
	}
	fate, shown := t.take(&e, &s.world.counters)
	if !shown {
		t.hidden[index] = fate
	}
	known := s.world.sessions.byClient[e.client]
	switch {
	case known == nil || known.client.shard != s:
		s.world.violate("integrity", "shard %d: entry %d is of session %x, which nobody asked for", s.id, index, e.client)
	case e.series == rsm.SeriesOpen:
		known.registered = true
	case e.series == rsm.SeriesClose:
	case e.series > uint64(len(known.calls)):
		s.world.violate("integrity", "shard %d: entry %d is of call %d of session %x, which has made %d", s.id, index, e.series, e.client, len(known.calls))
	default:
		known.calls[e.series-1].found |= fate
	}
}

// take says what becomes of an entry, by the rules.
func (t *sessionTable) take(e *sessionEntry, counters *Counters) (fate sessionFate, shown bool) {
	switch {
	case !t.keeps:
		return fateAbsent, false
	case e.series == rsm.SeriesOpen:
		t.list = append(t.list, &tableSession{client: e.client})
		for uint64(len(t.list)) > e.capacity {
			t.list = t.list[1:]
			counters.add(countSessionEvicted, 1)
		}
		return fateDone, false
	}
	at := -1
	for i, s := range t.list {
		if s.client == e.client {
			at = i
		}
	}
	if at < 0 {
		if e.series == rsm.SeriesClose {
			return fateDone, false
		}
		return fateExpired, false
	}
	s := t.list[at]
	t.list = append(t.list[:at:at], t.list[at+1:]...)
	if e.series == rsm.SeriesClose {
		return fateDone, false
	}
	t.list = append(t.list, s)
	s.responded = max(s.responded, e.responded)
	if e.series <= s.responded {
		return fateForgotten, false
	}
	kept := s.done[:0]
	again := false
	for _, series := range s.done {
		if series > s.responded {
			kept = append(kept, series)
		}
		again = again || series == e.series
	}
	s.done = kept
	if again {
		counters.add(countSessionRepeated, 1)
		return fateDone, false
	}
	s.done = append(s.done, e.series)
	return fateDone, true
}

// checkShown: a state machine is shown no entry that the rules keep from it.
func (s *shard) checkShown(h *host, index uint64) {
	if s.sessions == nil {
		return
	}
	if fate, hidden := s.sessions.hidden[index]; hidden {
		e := s.sessions.entries[s.committed[index-1].hash]
		s.world.violate("sessions", "shard %d: replica %d is shown entry %d, call %d of session %x, which is not to be applied (%s)", s.id, h.index+1, index, e.series,
			e.client, fateNames[fate])
	}
}

// check compares at the end what clients were told with what the rules say. Where witnesses vote, the last entries may not be known to be decided.
func (c *sessions) check() {
	if c == nil {
		return
	}
	w := c.world
	for _, s := range w.shards {
		s.followToTheEnd()
	}
	for _, client := range c.clients {
		if len(client.shard.kinds) > 0 {
			continue
		}
		list := client.former
		if client.session != nil {
			list = append(list[:len(list):len(list)], client.session)
		}
		for _, s := range list {
			s.check()
		}
	}
}

// followToTheEnd takes over what was decided behind the last command that was applied.
func (s *shard) followToTheEnd() {
	if len(s.proofs) == 0 {
		return
	}
	last := s.proofs[len(s.proofs)-1]
	if history := s.history(last.index, last.term); uint64(len(history)) > uint64(len(s.committed)) {
		s.world.extendCommitted(s, &mirror{entries: history}, last.index)
	}
}

func (s *session) check() {
	shard := s.client.shard
	if s.opened && !s.registered {
		shard.world.violate("sessions", "shard %d: session %x is said to be there, and no entry opens it", shard.id, s.id)
	}
	for _, call := range s.calls {
		if call.said&^call.found != 0 {
			shard.world.violate("sessions", "shard %d: call %d of session %x, operation %d, was answered %q, and by what was decided no attempt of it is", shard.id,
				call.series, s.id, call.id, fateNames[call.said&^call.found])
		}
	}
}
