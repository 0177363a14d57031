package simulation

// Checksum implements rsm.Checksummer: the hash of the history, which every audit has to find equal, through crashes, elections, replays and snapshots.
func (m *machine) Checksum() (uint64, error) {
	m.world.counters.add(countAudited, 1)
	return m.state, nil
}
