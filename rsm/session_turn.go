package rsm

import "github.com/flotilla-raft/flotilla/raftpb"

// mark says what becomes of one entry of a turn with sessions.
type mark struct {
	// shown is the entry's place among what is shown to the state machine, or that of the call that it repeats; -1 for neither.
	shown int32
	// session and series are those of a call that is shown: its result is kept there.
	session *session
	series  uint64
}

// beginSessions makes the turn one in which what is shown differs from what was added.
func (t *Turn) beginSessions() {
	if t.sessions {
		return
	}
	t.sessions = true
	for i := range t.entries {
		if i < t.skipped {
			t.marks = append(t.marks, mark{shown: -1})
			continue
		}
		t.show(t.entries[i], mark{})
	}
	t.errs = append(t.errs, make([]error, len(t.entries))...)
}

func (t *Turn) show(entry Entry, m mark) {
	m.shown = int32(len(t.shown))
	t.shown = append(t.shown, entry)
	t.marks = append(t.marks, m)
}

// addSessions adds a plain batch whose entries carry session fields, or one without to a turn that has such batches. Whether an entry
// is shown is decided here, in the order of the log; results come later.
func (m *Manager) addSessions(turn *Turn, batch raftpb.Batch) error {
	turn.beginSessions()
	index, term := batch.First(), batch.Term()
	iterator := batch.Iterator()
	for ; iterator.Next(); index++ {
		entry := Entry{Index: index, Command: iterator.Command()}
		turn.entries = append(turn.entries, entry)
		turn.errs = append(turn.errs, nil)
		client, series, responded := iterator.Session()
		switch {
		case index <= m.opened:
			turn.skipped++
			turn.marks = append(turn.marks, mark{shown: -1})
		case client == 0:
			turn.show(entry, mark{})
		default:
			m.addCall(turn, entry, client, series, responded)
			if turn.marks[len(turn.marks)-1].session == nil {
				continue // was not shown
			}
		}
		turn.shownIndex, turn.shownTerm = index, term
	}
	return iterator.Err()
}

// addCall decides on an entry with a session.
func (m *Manager) addCall(turn *Turn, entry Entry, client, series, responded uint64) {
	at := len(turn.entries) - 1
	refuse := func(err error) {
		turn.errs[at] = err
		turn.marks = append(turn.marks, mark{shown: -1})
	}
	table := &m.sessions
	switch {
	case table.absent:
		refuse(ErrNoSessions)
		return
	case series == SeriesOpen:
		refuse(table.register(client, entry.Index, entry.Command))
		return
	}
	s := table.use(client, entry.Index)
	if series == SeriesClose {
		if s != nil {
			table.remove(s)
		}
		refuse(nil)
		return
	}
	if s == nil {
		refuse(ErrSessionExpired)
		return
	}
	table.respond(s, min(responded, SeriesClose-1))
	if series <= s.responded {
		refuse(ErrCallForgotten)
		return
	}
	if series-s.responded > MaxSessionWindow {
		refuse(ErrSessionWindow)
		return
	}
	if slot := s.find(series); slot == nil {
		slot = s.make(series)
		turn.show(entry, mark{session: s, series: series})
		slot.at = int32(len(turn.shown))
	} else {
		turn.marks = append(turn.marks, mark{shown: slot.at - 1})
		turn.entries[at].Result = slot.result
	}
}

// results hands out what the state machine has answered, to entries, to calls that are repeated and to sessions. What a session is to keep
// may be forgotten already, by a later entry of the turn.
func (t *Turn) results() {
	for i := range t.marks {
		mark := &t.marks[i]
		if mark.shown < 0 {
			continue
		}
		result := t.shown[mark.shown].Result
		t.entries[i].Result = result
		if mark.session != nil {
			if slot := mark.session.find(mark.series); slot != nil && slot.at == mark.shown+1 {
				slot.result, slot.at = result, 0
			}
		}
	}
}
