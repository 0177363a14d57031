package rsm

// SessionDelta is what a turn changes in the client sessions, for a SessionKeeper to write beside its data.
type SessionDelta struct {
	// Index is the applied index once the delta is written: at or above that of the last entry that comes with it.
	Index uint64

	taken bool
}

// Writes returns the changes. It is called once the entries' results are set, and belongs to the delta: it is valid until
// UpdateWithSessions returns.
func (d *SessionDelta) Writes() []SessionWrite {
	d.taken = true
	return nil
}
