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

// beginSessions makes the turn one with marks.
func (t *Turn) beginSessions() {
	if t.sessions {
		return
	}
	t.sessions = true
	for i := range t.entries {
		t.marks = append(t.marks, mark{shown: int32(max(i-t.skipped, -1))})
	}
}

// show marks the entry that was added last as one that is shown, and returns its place.
func (t *Turn) show(s *session, series uint64) (place int32) {
	at := len(t.entries) - 1
	place = int32(at - t.skipped)
	if t.selected {
		place = int32(len(t.shown))
		t.shown = append(t.shown, t.entries[at])
		t.errs = append(t.errs, nil)
	}
	t.marks = append(t.marks, mark{shown: place, session: s, series: series})
	return place
}

// hide marks the entry that was added last as one that is not shown: it is refused, or done without the state machine, or shares the result of what is at
// a place.
func (t *Turn) hide(place int32, err error) {
	if !t.selected {
		t.selected = true
		at := len(t.entries) - 1
		t.shown = append(t.shown, t.entries[t.skipped:at]...)
		for range at {
			t.errs = append(t.errs, nil)
		}
	}
	t.marks = append(t.marks, mark{shown: place})
	t.errs = append(t.errs, err)
}

// addSessions adds a plain batch whose entries carry session fields, or one without to a turn that has such batches. Whether an entry
// is shown is decided here, in the order of the log; results come later.
func (m *Manager) addSessions(turn *Turn, batch raftpb.Batch) error {
	turn.beginSessions()
	index, term := batch.First(), batch.Term()
	iterator := batch.Iterator()
	for ; iterator.Next(); index++ {
		turn.entries = append(turn.entries, Entry{Index: index, Command: iterator.Command()})
		fields := iterator.Session()
		switch {
		case index <= m.opened:
			turn.skipped++
			turn.marks = append(turn.marks, mark{shown: -1})
		case fields.Client == 0:
			turn.show(nil, 0)
		default:
			if !m.addCall(turn, index, fields) {
				continue
			}
		}
		turn.shownIndex, turn.shownTerm = index, term
	}
	return iterator.Err()
}

// addCall decides on the entry that was added last, which has a session, and reports whether it is shown.
func (m *Manager) addCall(turn *Turn, index uint64, fields raftpb.SessionFields) (shown bool) {
	client, series, responded := fields.Client, fields.Series, fields.Responded
	at, table := len(turn.entries)-1, &m.sessions
	switch {
	case table.absent:
		turn.hide(-1, ErrNoSessions)
		return false
	case series == SeriesOpen:
		turn.hide(-1, table.register(client, index, turn.entries[at].Command))
		return false
	}
	s := table.use(client, index)
	if series == SeriesClose {
		if s != nil {
			table.remove(s)
		}
		turn.hide(-1, nil)
		return false
	}
	if s == nil {
		turn.hide(-1, ErrSessionExpired)
		return false
	}
	table.respond(s, min(responded, SeriesClose-1))
	if series <= s.responded {
		turn.hide(-1, ErrCallForgotten)
		return false
	}
	if series-s.responded > MaxSessionWindow {
		turn.hide(-1, ErrSessionWindow)
		return false
	}
	if slot := s.find(series); slot != nil {
		turn.entries[at].Result = slot.result
		turn.hide(slot.at-1, nil)
		return false
	}
	s.make(series).at = 1 + turn.show(s, series)
	return true
}

// results hands out what the state machine has answered, to entries, to calls that are repeated and to sessions. What a session is to keep
// may be forgotten already, by a later entry of the turn.
func (t *Turn) results() {
	shown := t.toShow()
	for i := range t.marks {
		mark := &t.marks[i]
		if mark.shown < 0 {
			continue
		}
		if t.selected {
			t.entries[i].Result = shown[mark.shown].Result
		}
		if mark.session != nil {
			if slot := mark.session.find(mark.series); slot != nil && slot.at == mark.shown+1 {
				mark.session.set(slot, shown[mark.shown].Result)
			}
		}
	}
}
