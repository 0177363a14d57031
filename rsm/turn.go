package rsm

import (
	"fmt"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Turn is a run of committed batches on its way through a state machine in one Update. It belongs to the worker that applies, which uses it again
// for the next one, so that a turn allocates nothing once it has grown.
type Turn struct {
	entries     []Entry // one for every entry of the command batches
	skipped     int     // of them, from the front, are in an on-disk machine's data and not shown
	first, last uint64
	term        uint64 // of last
	// The last entry that is shown, or was before, with its term: what an on-disk machine counts as applied.
	shownIndex, shownTerm uint64
	membership            *raftpb.Membership // of the last batch
	audit                 auditEntry         // the last batch, if it is one
	audited               Audited

	// With sessions there are marks for all of entries. Once one of them is not to be shown there are two slices more: what is shown, and
	// why each of entries was refused.
	sessions, selected bool
	marks              []mark
	shown              []Entry
	errs               []error
	delta              SessionDelta
}

// Reset empties the turn and keeps its memory, but nothing that entries refer to.
func (t *Turn) Reset() {
	clear(t.entries)
	clear(t.shown)
	clear(t.marks)
	clear(t.errs)
	clear(t.delta.writes)
	*t = Turn{
		entries: t.entries[:0], shown: t.shown[:0], marks: t.marks[:0], errs: t.errs[:0], delta: SessionDelta{writes: t.delta.writes[:0]},
	}
}

// Entries returns the commands that were added, one entry for every entry of a command batch, with their results after Apply. They are
// valid until Reset.
func (t *Turn) Entries() []Entry { return t.entries }

// Errs returns, for each of Entries, why it was not shown to the state machine; it is nil if all were. They are valid
// until Reset.
func (t *Turn) Errs() []error {
	if !t.selected {
		return nil
	}
	return t.errs
}

// toShow returns what the state machine is handed.
func (t *Turn) toShow() []Entry {
	if t.selected {
		return t.shown
	}
	return t.entries[t.skipped:]
}

// Full reports whether nothing more may be added: what was added last is a membership, which is told behind the Update, or an entry of an audit.
func (t *Turn) Full() bool { return t.membership != nil || t.audit.kind != 0 }

// Add adds a batch, the next in the log. The only errors are those of a damaged body; the turn is then good for nothing but Reset.
func (m *Manager) Add(turn *Turn, batch raftpb.Batch) error {
	switch {
	case turn.first == 0:
		turn.first = batch.First()
	case batch.First() != turn.last+1 || turn.Full():
		invariant.Fail("batch at %d added to a turn of [%d, %d]", batch.First(), turn.first, turn.last)
	}
	turn.last, turn.term = batch.Last(), batch.Term()
	switch batch.Kind() {
	case raftpb.KindCommands:
		return m.addCommands(turn, batch)
	case raftpb.KindMembership:
		membership, err := batch.Membership()
		if err != nil {
			return fmt.Errorf("membership at index %d: %w", batch.First(), err)
		}
		turn.membership = &membership
	case raftpb.KindAudit:
		entry, err := parseAudit(batch)
		if err != nil {
			return fmt.Errorf("audit at index %d: %w", batch.First(), err)
		}
		turn.audit = entry
	}
	return nil
}

func (m *Manager) addCommands(turn *Turn, batch raftpb.Batch) error {
	if batch.Flags()&raftpb.FlagCompressed != 0 {
		plain, err := batch.Plain(nil)
		if err != nil {
			return err
		}
		batch = plain
	}
	if turn.sessions || batch.Flags()&raftpb.FlagSessions != 0 {
		return m.addSessions(turn, batch)
	}
	index := batch.First()
	iterator := batch.Iterator()
	for iterator.Next() {
		turn.entries = append(turn.entries, Entry{Index: index, Command: iterator.Command()})
		if index <= m.opened {
			turn.skipped++
		}
		index++
	}
	turn.shownIndex, turn.shownTerm = batch.Last(), batch.Term()
	return iterator.Err()
}
