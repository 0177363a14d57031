package rsm

import (
	"encoding/binary"
	"fmt"
)

// SessionDelta is what a turn changes in the client sessions, for a SessionKeeper to write beside its data.
type SessionDelta struct {
	// Index is the applied index once the delta is written: at or above that of the last entry that comes with it.
	Index uint64

	table  *sessionTable
	turn   *Turn // nil for what a snapshot brought
	writes []SessionWrite
	taken  bool
}

// Writes returns the changes, in the order in which they are to be made. It is called once the entries' results are set, and belongs to the
// delta: it is valid until UpdateWithSessions returns.
func (d *SessionDelta) Writes() []SessionWrite {
	if d.taken {
		return d.writes
	}
	d.taken = true
	if d.turn == nil {
		return d.writes
	}
	for _, key := range d.table.removed {
		d.writes = append(d.writes, SessionWrite{Key: key, Delete: true})
	}
	for _, s := range d.table.dirty {
		if !s.gone {
			s.stored = true
			d.writes = append(d.writes, SessionWrite{Key: sessionKey(s.client), Value: sessionRecord(s)})
		}
	}
	for i := range d.turn.marks {
		d.calls(&d.turn.marks[i])
	}
	return d.writes
}

// calls writes the results of calls of this turn, but of those whose session a later entry of the turn has ended, or that it has acknowledged.
func (d *SessionDelta) calls(mark *mark) {
	s := mark.session
	if s == nil || s.gone {
		return
	}
	shown := d.turn.toShow()[mark.shown : mark.shown+mark.count]
	for i := range shown {
		series := mark.series + uint64(i)
		slot := s.find(series)
		if slot == nil || slot.at != mark.shown+int32(i)+1 {
			continue
		}
		slot.stored, s.heavy = true, true
		d.writes = append(d.writes, SessionWrite{Key: resultKey(s.client, series), Value: resultRecord(&shown[i].Result)})
	}
}

// settle forgets what a delta has written.
func (t *sessionTable) settle() {
	for i, s := range t.dirty {
		s.dirty = false
		t.dirty[i] = nil
	}
	t.dirty = t.dirty[:0]
	clear(t.removed)
	t.removed = t.removed[:0]
}

// changed reports whether there is something to be written but for results of the turn.
func (t *sessionTable) changed() bool { return len(t.dirty)+len(t.removed) > 0 }

// A SessionKeeper has for each session a record under the client's ID, and for each result that is kept one under client and series.
// Lengths tell them apart; big endian keeps a session's together in an ordered store.
const recordVersion = 1

func sessionKey(client uint64) []byte { return binary.BigEndian.AppendUint64(nil, client) }

func resultKey(client, series uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, 16), client), series)
}

func sessionRecord(s *session) []byte {
	record := binary.AppendUvarint([]byte{recordVersion}, s.lastUse)
	return binary.AppendUvarint(record, s.responded)
}

func resultRecord(result *Result) []byte {
	record := binary.AppendUvarint(make([]byte, 0, 10+len(result.Data)), result.Value)
	return append(record, result.Data...)
}

// storedSessions gathers what LoadSessions yields.
type storedSessions struct {
	sessions []*session
	results  []storedResult
}

type storedResult struct {
	client, series uint64
	result         Result
}

// add takes one record. The slices are the state machine's.
func (l *storedSessions) add(key, value []byte) error {
	switch len(key) {
	case 8:
		return l.addSession(binary.BigEndian.Uint64(key), value)
	case 16:
		number, n := binary.Uvarint(value)
		if n <= 0 {
			return fmt.Errorf("%w: result under key %x: no value", ErrSessionsDamaged, key)
		}
		result := Result{Value: number}
		if len(value) > n {
			result.Data = append([]byte(nil), value[n:]...)
		}
		l.results = append(l.results, storedResult{binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:]), result})
		return nil
	}
	return fmt.Errorf("%w: key %x has %d bytes, want 8 or 16", ErrSessionsDamaged, key, len(key))
}

func (l *storedSessions) addSession(client uint64, value []byte) error {
	if len(value) == 0 || value[0] != recordVersion {
		return fmt.Errorf("%w: session %d: version %.1x, this program reads version %d", ErrSessionsDamaged, client, value, recordVersion)
	}
	value = value[1:]
	lastUse, n := binary.Uvarint(value)
	if n <= 0 {
		return fmt.Errorf("%w: session %d: no index of its last use", ErrSessionsDamaged, client)
	}
	responded, k := binary.Uvarint(value[n:])
	if k <= 0 || n+k != len(value) {
		return fmt.Errorf("%w: session %d: %d bytes of record", ErrSessionsDamaged, client, len(value)+1)
	}
	l.sessions = append(l.sessions, &session{client: client, lastUse: lastUse, responded: responded, stored: true})
	return nil
}
