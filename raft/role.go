package raft

// Role is what a replica is at the moment. It selects the row of the handler table.
type Role uint8

const (
	// RoleFollower follows a leader or waits for one.
	RoleFollower Role = iota
	// RolePreCandidate asks whether it would be elected, without disturbing anybody (thesis 9.6).
	RolePreCandidate
	// RoleCandidate asks for votes in a term of its own.
	RoleCandidate
	// RoleLeader replicates its log.
	RoleLeader
	// RoleBootstrapping is an initial member with an empty log that has not yet heard from every other initial voter that
	// it is empty too; it neither votes nor campaigns (R16).
	RoleBootstrapping
	// RoleAbstaining is a replica that remembers less than it promised, or that was told that it is no member any more. It
	// says nothing at all until it is healed or removed (R14, R16, R18).
	RoleAbstaining
	// RoleStopped says nothing any more.
	RoleStopped

	roleCount
)

var roleNames = [roleCount]string{
	"follower", "pre-candidate", "candidate", "leader", "bootstrapping", "abstaining", "stopped",
}

// String returns the role's name.
func (r Role) String() string {
	if r < roleCount {
		return roleNames[r]
	}
	return "unknown"
}
