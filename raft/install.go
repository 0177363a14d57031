package raft

import "github.com/flotilla-raft/flotilla/raftpb"

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

// SnapshotReceived says that the snapshot that an Install asked for is durable here as a whole, in a file of its own. Unless it is of no
// use any more, which is what false says, the log begins anew behind it and the state machine is to be recovered from it as
// soon as the write that says so is durable; then SnapshotInstalled or SnapshotFailed is called.
func (c *Core) SnapshotReceived(now Instant, meta raftpb.SnapshotMeta) bool {
	c.EndInstall(now)
	return false
}

// SnapshotInstalled says that the state machine has recovered from the snapshot of SnapshotReceived, or of Stored.Installing.
func (c *Core) SnapshotInstalled(now Instant) { c.now = now }

// SnapshotFailed says that no snapshot came of an Install, and why.
func (c *Core) SnapshotFailed(now Instant, reason raftpb.Reason) { c.EndInstall(now) }
