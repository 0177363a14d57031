package raft

// BeginInstall says that a snapshot is being installed: the replica's log and membership are about to be replaced. Until EndInstall it
// answers appends and probes busy, so that the leader waits instead of sending what is thrown away; answers heartbeats
// as ever, so that the leader keeps its authority and the follower its place; and does not campaign, since the
// membership that it knows may be long out of date. It goes on voting: a vote rests on the log that it still has.
func (c *Core) BeginInstall(now Instant) {
	c.now = now
	if c.installing || c.role == RoleStopped || c.role == RoleAbstaining || c.role == RoleLeader {
		return
	}
	c.installing = true
	if c.role == RolePreCandidate || c.role == RoleCandidate {
		c.becomeFollower(now, c.term)
	}
}

// EndInstall says that the installation is over, done or given up.
func (c *Core) EndInstall(now Instant) {
	c.now = now
	if !c.installing {
		return
	}
	c.installing = false
	if c.role == RoleFollower {
		c.resetElectionTimer(now)
	}
}
