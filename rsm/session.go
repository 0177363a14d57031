package rsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// Outcomes of entries that carry a client session, for errors.Is. None of these entries was shown to the state machine.
var (
	// ErrSessionExpired says that the session is not there: it was closed, or it was the one that had not been used for longest when a new one
	// needed its place. Whether an earlier attempt of the same call was applied is not known any more.
	ErrSessionExpired = errors.New("rsm: session has expired")
	// ErrNoSessions says that the state machine is on disk and keeps no sessions.
	ErrNoSessions = errors.New("rsm: state machine keeps no sessions")
	// ErrSessionWindow says that the call is too far above the oldest one whose response was not acknowledged.
	ErrSessionWindow = errors.New("rsm: too many calls of the session are not acknowledged")
	// ErrCallForgotten says that the call was acknowledged or abandoned before: whether it was applied is not known any more.
	ErrCallForgotten = errors.New("rsm: call was acknowledged or abandoned before")
	// ErrBadSession says that an entry's session fields make no sense.
	ErrBadSession = errors.New("rsm: malformed session entry")
	// ErrSessionsDamaged says that stored sessions cannot be read.
	ErrSessionsDamaged = errors.New("rsm: stored sessions are damaged")
)

// An entry with a client ID other than 0 belongs to that client's session. Its series numbers the calls of a session from 1; two
// numbers stand for its beginning and end.
const (
	// SeriesOpen registers the client; the command is RegisterCommand.
	SeriesOpen = 0
	// SeriesClose ends the session. It succeeds, too, if there is none.
	SeriesClose = math.MaxUint64

	// MaxClientID is the highest client ID. IDs are drawn at random, a new one for every attempt to register: an attempt that
	// arrives late makes a session that nobody uses, and never one in place of a session that has expired, where old calls would run again.
	MaxClientID = 1<<56 - 1
	// MaxSessionWindow bounds how far a call may be above the newest acknowledged one, and with it what is kept of a session.
	MaxSessionWindow = 4096
	// MaxSessions is the highest capacity that a register command may name.
	MaxSessions = 1 << 20
)

// RegisterCommand returns the command that registers a session in a shard that is to hold at most capacity of them. The bound
// travels in the command, so that all replicas evict the same sessions whatever their hosts are configured to.
func RegisterCommand(capacity int) []byte { return binary.AppendUvarint(nil, uint64(capacity)) }

// session is what is known of one client.
type session struct {
	client    uint64
	responded uint64 // the client has the responses of all calls up to it, or does not want them
	lastUse   uint64 // index of the last entry that used it

	newer, older *session
	// slots is a ring by series, a power of two long. Every call above responded that was applied has a slot; what else is in there means nothing.
	slots []slot
	// data is a ring beside it with the bytes of results, nil until one has any: most have none, and a slot is read and written with every call.
	data [][]byte

	heavy  bool // slots have had more than a number: there is something to be done when they are forgotten
	dirty  bool // in sessionTable.dirty
	stored bool // a SessionKeeper has a record of it
	gone   bool // not in the table any more
}

// slot is what one call has answered.
type slot struct {
	series uint64
	value  uint64
	at     int32 // while the call is in the turn under way, 1 + its place among what is shown
	stored bool  // a SessionKeeper has it
}

func (s *session) slot(series uint64) *slot { return &s.slots[series&uint64(len(s.slots)-1)] }

// bytes returns the place of a call's bytes, which only a heavy session with data has.
func (s *session) bytes(series uint64) *[]byte { return &s.data[series&uint64(len(s.data)-1)] }

// result returns what a slot holds.
func (s *session) result(slot *slot) Result {
	result := Result{Value: slot.value}
	if s.data != nil {
		result.Data = *s.bytes(slot.series)
	}
	return result
}

// find returns the slot of a call that was applied and is not forgotten, or nil.
func (s *session) find(series uint64) *slot {
	if len(s.slots) == 0 || series <= s.responded {
		return nil
	}
	if slot := s.slot(series); slot.series == series {
		return slot
	}
	return nil
}

// make makes a slot for a call that has none. All calls above responded have different places in the ring.
func (s *session) make(series uint64) *slot {
	if window := series - s.responded; window > uint64(len(s.slots)) {
		s.grow(max(8, 1<<bits.Len64(window-1)))
	}
	slot := s.slot(series)
	if s.heavy {
		slot.stored = false
		if s.data != nil {
			*s.bytes(series) = nil
		}
	}
	slot.series = series
	return slot
}

// grow makes the rings longer.
func (s *session) grow(length int) {
	slots, data := s.slots, s.data
	s.slots = make([]slot, length)
	if data != nil {
		s.data = make([][]byte, length)
	}
	for i := range slots {
		if series := slots[i].series; series > s.responded {
			*s.slot(series) = slots[i]
			if data != nil {
				*s.bytes(series) = data[i]
			}
		}
	}
}

// following is make for a call that has no slot, if that takes nothing but to number it: almost every one. It returns nil for any other.
func (s *session) following(series uint64) *slot {
	if s.heavy || series-s.responded-1 >= uint64(len(s.slots)) { // below 0 is far above
		return nil
	}
	slot := s.slot(series)
	if slot.series == series {
		return nil
	}
	slot.series = series
	return slot
}

// set gives a slot its result.
func (s *session) set(slot *slot, result Result) {
	slot.value, slot.at = result.Value, 0
	if result.Data != nil {
		if s.data == nil {
			s.data = make([][]byte, len(s.slots))
		}
		*s.bytes(slot.series), s.heavy = result.Data, true
	}
}

// sessionTable holds the sessions of one shard. Everything that happens to it follows from the log alone, so it is the same on every
// replica at the same index. It belongs to the goroutine that applies.
type sessionTable struct {
	absent         bool                // an on-disk machine keeps none: every entry with a session is refused
	byClient       map[uint64]*session // looked up, never iterated
	newest, oldest *session            // by last use

	// For a SessionKeeper: what has changed since the last delta, in the order of the log.
	keeping bool
	dirty   []*session
	removed [][]byte // keys
}

func (t *sessionTable) len() int { return len(t.byClient) }

// use finds a session and makes it the one that was used last.
func (t *sessionTable) use(client, index uint64) *session {
	s := t.newest
	if s == nil || s.client != client {
		if s = t.byClient[client]; s == nil {
			return nil
		}
		t.unlink(s)
		t.link(s)
	}
	s.lastUse = index
	t.change(s)
	return s
}

func (t *sessionTable) link(s *session) {
	s.older, s.newer = t.newest, nil
	if t.newest != nil {
		t.newest.newer = s
	} else {
		t.oldest = s
	}
	t.newest = s
}

func (t *sessionTable) unlink(s *session) {
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		t.newest = s.older
	}
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		t.oldest = s.newer
	}
}

// change notes that a session's record has to be written again.
func (t *sessionTable) change(s *session) {
	if t.keeping && !s.dirty {
		s.dirty = true
		t.dirty = append(t.dirty, s)
	}
}

// register makes a session and evicts those beyond the capacity.
func (t *sessionTable) register(client, index uint64, command []byte) error {
	capacity, n := binary.Uvarint(command)
	switch {
	case client > MaxClientID:
		return fmt.Errorf("%w: client ID %d, accepted is up to %d", ErrBadSession, client, uint64(MaxClientID))
	case n != len(command) || n <= 0 || capacity == 0 || capacity > MaxSessions:
		return fmt.Errorf("%w: capacity %x, accepted is 1 to %d", ErrBadSession, command, MaxSessions)
	case t.byClient[client] != nil:
		return fmt.Errorf("%w: client ID %d is taken", ErrBadSession, client)
	}
	s := &session{client: client, lastUse: index}
	t.put(s)
	t.change(s)
	for uint64(t.len()) > capacity {
		t.remove(t.oldest)
	}
	return nil
}

// put adds a session as the one that was used last. A shard without sessions has no map.
func (t *sessionTable) put(s *session) {
	if t.byClient == nil {
		t.byClient = map[uint64]*session{}
	}
	t.byClient[s.client] = s
	t.link(s)
}

func (t *sessionTable) remove(s *session) {
	s.gone = true
	delete(t.byClient, s.client)
	t.unlink(s)
	if !t.keeping {
		return
	}
	if s.stored {
		t.removed = append(t.removed, sessionKey(s.client))
	}
	for i := range s.slots {
		if s.slots[i].stored && s.slots[i].series > s.responded {
			t.removed = append(t.removed, resultKey(s.client, s.slots[i].series))
		}
	}
}

// respond forgets the responses up to a call.
func (t *sessionTable) respond(s *session, responded uint64) {
	switch {
	case responded <= s.responded:
		return
	case !s.heavy:
	case responded-s.responded >= uint64(len(s.slots)):
		for i := range s.slots {
			t.forget(s, &s.slots[i], responded)
		}
	default:
		for series := s.responded + 1; series <= responded; series++ {
			t.forget(s, s.slot(series), responded)
		}
	}
	s.responded = responded
}

func (t *sessionTable) forget(s *session, slot *slot, responded uint64) {
	if slot.series <= s.responded || slot.series > responded {
		return
	}
	if slot.stored {
		t.removed = append(t.removed, resultKey(s.client, slot.series))
	}
	if s.data != nil {
		*s.bytes(slot.series) = nil
	}
	slot.series, slot.stored = 0, false
}
