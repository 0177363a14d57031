package simulation

import (
	"bytes"

	"github.com/flotilla-raft/flotilla/rsm"
)

// keeperMachine is a rsm.SessionKeeper.
type keeperMachine struct{ *diskMachine }

// UpdateWithSessions implements rsm.SessionKeeper.
func (m *keeperMachine) UpdateWithSessions(entries []rsm.Entry, delta *rsm.SessionDelta) error {
	if err := m.update(entries); err != nil {
		return err
	}
	if m.recovered {
		m.recovered = false
		if delta.Index != m.applied && m.alive() {
			m.world.violate("snapshot", "%s: its state machine recovers to entry %d from a snapshot of entry %d", m.place.describe(), m.applied, delta.Index)
		}
	}
	writes := delta.Writes()
	m.keep(writes)
	m.applied = delta.Index
	return m.fails(countMachineUpdateFailed, m.write(recordUpdate, writes))
}

// keep takes over what is written of sessions.
func (m *diskMachine) keep(writes []rsm.SessionWrite) {
	for i := range writes {
		w := &writes[i]
		if w.Delete {
			delete(m.sessions, string(w.Key))
		} else {
			m.sessions[string(w.Key)] = bytes.Clone(w.Value)
		}
	}
}

// LoadSessions implements rsm.SessionKeeper.
func (m *keeperMachine) LoadSessions(yield func(key, value []byte) error) error {
	for _, w := range m.allSessions() {
		if err := yield(w.Key, w.Value); err != nil {
			return err
		}
	}
	return nil
}
