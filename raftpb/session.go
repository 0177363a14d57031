package raftpb

import "encoding/binary"

// SessionFields are what an entry of a batch with FlagSessions says of its client session.
type SessionFields struct {
	// Client is the client's ID, 0 for an entry without a session, whose other fields are 0, too.
	Client uint64
	// Series numbers the client's calls, Responded is the highest number up to which it has received every response.
	Series, Responded uint64
}

// The number that an entry with session fields begins with. Calls of one client come one after another, mostly, each a little further than the
// one before: those take one byte, where the fields as they are take fourteen.
const (
	sessionNone  = 0 // no session
	sessionWhole = 1 // client, series and series - responded follow (modulo 2^64)
	sessionStep  = 2 // and above: client of the last entry with a session, series one higher, responded higher by what is above sessionStep
)

// AppendSessionEntry appends one entry with session fields to an arena, as AppendEntry does without. last is kept by the caller beside the arena: it begins
// as the zero value and holds the fields of the last entry with a session, which the next may refer to. An arena holds either entries
// with session fields or entries without, never both.
func AppendSessionEntry(arena []byte, last *SessionFields, fields SessionFields, command []byte) []byte {
	step := fields.Responded - last.Responded
	if fields.Client == last.Client && fields.Series == last.Series+1 && step < 0x80-sessionStep && fields.Client != 0 {
		arena = append(arena, byte(sessionStep+step))
		*last = fields
	} else {
		arena = appendWholeSession(arena, last, fields)
	}
	return AppendEntry(arena, command)
}

// appendWholeSession appends fields that do not follow from those before.
func appendWholeSession(arena []byte, last *SessionFields, fields SessionFields) []byte {
	if fields.Client == 0 {
		return append(arena, sessionNone)
	}
	*last = fields
	arena = append(arena, sessionWhole)
	arena = binary.AppendUvarint(arena, fields.Client)
	arena = binary.AppendUvarint(arena, fields.Series)
	return binary.AppendUvarint(arena, fields.Series-fields.Responded)
}

// readSession reads the session fields of the next entry.
func (it *EntryIterator) readSession() bool {
	if it.position < len(it.body) {
		if kind := it.body[it.position]; kind >= sessionStep && kind < 0x80 && it.last.Client != 0 {
			it.last.Series++
			it.last.Responded += uint64(kind - sessionStep)
			it.position++
			it.absent = false
			return true
		}
	}
	return it.readWholeSession()
}

// readWholeSession reads fields that do not follow from those before, and those that are wrong.
func (it *EntryIterator) readWholeSession() bool {
	kind, ok := it.readField()
	if !ok {
		return false
	}
	it.absent = kind == sessionNone
	switch {
	case kind == sessionNone:
		return true
	case kind >= sessionStep && it.last.Client == 0:
		return it.fail("a session's next call without one before it")
	case kind >= sessionStep:
		it.last.Series++
		it.last.Responded += kind - sessionStep
		return true
	}
	var fields [3]uint64
	for i := range fields {
		if fields[i], ok = it.readField(); !ok {
			return false
		}
	}
	if fields[0] == 0 {
		return it.fail("a session without a client")
	}
	it.last = SessionFields{Client: fields[0], Series: fields[1], Responded: fields[1] - fields[2]}
	return true
}

func (it *EntryIterator) readField() (value uint64, ok bool) {
	value, n := binary.Uvarint(it.body[it.position:])
	if n <= 0 {
		return 0, it.fail("no session field")
	}
	it.position += n
	return value, true
}

// Session returns the current entry's client session fields; all are 0 for an entry without a session, and without FlagSessions.
func (it *EntryIterator) Session() SessionFields {
	if it.absent {
		return SessionFields{}
	}
	return it.last
}
