package rsm

import "github.com/flotilla-raft/flotilla/raftpb"

// mark says what becomes of a run of entries of a turn with sessions: one after another, they are calls of the same session, each of which has
// the next number, or have none, and stand side by side among what is shown. Calls come like that, mostly, so that marks are few.
type mark struct {
	// shown is the first entry's place among what is shown to the state machine, or that of the call that it repeats; -1 for neither.
	shown int32
	count int32
	// session and series are those of the first call that is shown: its result is kept there.
	session *session
	series  uint64
}

// goesOn reports whether an entry of the same session, or one without, is the next of a run.
func (m *mark) goesOn(shown int32, series uint64) bool {
	if m.shown < 0 || shown < 0 {
		return m.shown == shown
	}
	return shown == m.shown+m.count && (m.session == nil || series == m.series+uint64(m.count))
}

// mark marks the next entry. It is part of the last run if it goes on with that.
func (t *Turn) mark(shown int32, s *session, series uint64) {
	if n := len(t.marks); n > 0 {
		last := &t.marks[n-1]
		if s == last.session && last.goesOn(shown, series) {
			last.count++
			return
		}
	}
	t.marks = append(t.marks, mark{shown: shown, count: 1, session: s, series: series})
}

// beginSessions makes the turn one with marks.
func (t *Turn) beginSessions() {
	if t.sessions {
		return
	}
	t.sessions = true
	for i := range t.entries {
		t.mark(int32(max(i-t.skipped, -1)), nil, 0)
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
	t.mark(place, s, series)
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
	t.mark(place, nil, 0)
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
			turn.mark(-1, nil, 0)
		case fields.Client == 0:
			turn.show(nil, 0)
		default:
			if !m.addNext(turn, index, fields) && !m.addCall(turn, index, fields) {
				continue
			}
		}
		turn.shownIndex, turn.shownTerm = index, term
	}
	return iterator.Err()
}

// addNext is addCall for what almost every entry is: a new call of the session that was used last. It returns false for any other, which is
// addCall's.
func (m *Manager) addNext(turn *Turn, index uint64, fields raftpb.SessionFields) (added bool) {
	table := &m.sessions
	s := table.newest
	if s == nil || s.client != fields.Client || fields.Series == SeriesOpen || fields.Series == SeriesClose || fields.Responded == SeriesClose {
		return false
	}
	if fields.Responded > s.responded {
		table.respond(s, fields.Responded)
	}
	slot := s.following(fields.Series)
	if slot == nil {
		return false
	}
	s.lastUse = index
	table.change(s)
	slot.at = 1 + turn.show(s, fields.Series)
	return true
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
		turn.entries[at].Result = s.result(slot)
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
	entry := 0
	for i := range t.marks {
		mark := &t.marks[i]
		first := entry
		entry += int(mark.count)
		if mark.shown < 0 {
			continue
		}
		run := shown[mark.shown : mark.shown+mark.count]
		if t.selected {
			for j := range run {
				t.entries[first+j].Result = run[j].Result
			}
		}
		if mark.session != nil {
			mark.session.setRun(mark, run)
		}
	}
}

// setRun gives the slots of a run of calls their results.
func (s *session) setRun(mark *mark, run []Entry) {
	at := mark.shown + 1
	for j := range run {
		if slot := s.find(mark.series + uint64(j)); slot != nil && slot.at == at+int32(j) {
			s.set(slot, run[j].Result)
		}
	}
}
