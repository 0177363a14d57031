package raft

// Compact says that nobody here needs the log up to index any more, but for what followers may lack: it is in a snapshot, or durable in
// the state machine. It comes out as a Compaction, possibly of less: what is not applied, or wanted by a log read under way,
// stays, and everything does while a snapshot is being installed. Asking again is harmless.
func (c *Core) Compact(now Instant, index uint64) {
	c.now = now
	if c.installing || c.role == RoleStopped {
		return
	}
	index = min(index, c.applied, c.log.durable)
	if index <= c.log.compacted() {
		return
	}
	c.log.compact(index)
	c.pruneConfigs()
	c.compactions = append(c.compactions, Compaction{
		ShardID: c.options.ShardID, ReplicaID: c.options.ReplicaID, Index: index, Term: c.log.terms.before.Term,
	})
}
