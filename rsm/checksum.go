package rsm

// Checksummer is optional for every kind: a number that sums up the state, for replicas to be compared with each other. It is equal on machines that were shown the same
// entries, however they came to them, by Updates or by Recover. It is called where Updates are, and must be as short, so a machine with much
// state keeps it up to date as it goes. An error quarantines the replica.
type Checksummer interface{ Checksum() (uint64, error) }

// HasChecksum reports whether the state machine is a Checksummer. It is called where Apply is.
func (m *Manager) HasChecksum() bool {
	_, ok := m.machine.(Checksummer)
	return ok
}
