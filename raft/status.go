package raft

import (
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// ProgressState says how a leader sends to one follower.
type ProgressState uint8

const (
	// ProgressProbe sends one message at a time until the follower's log is found.
	ProgressProbe ProgressState = iota
	// ProgressReplicate pipelines, bounded by bytes and count.
	ProgressReplicate
	// ProgressSnapshot sends nothing: what the follower needs is compacted, and a snapshot has to bring it.
	ProgressSnapshot
)

var progressNames = [...]string{"probe", "replicate", "snapshot"}

// String returns the state's name.
func (s ProgressState) String() string {
	if int(s) < len(progressNames) {
		return progressNames[s]
	}
	return "unknown"
}

// FollowerStatus is a leader's view of one member.
type FollowerStatus struct {
	ReplicaID uint64
	Kind      raftpb.MemberKind
	State     ProgressState
	Match     uint64 // last entry known durable there and equal to the leader's
	Next      uint64 // next entry to send
	// Online says that it has answered since the connection to it was lost, or since it was silent for an election timeout.
	Online           bool
	LastContact      Instant // when it last answered; when the leader began to lead if it has not since
	InflightBytes    int     // bytes sent and not yet answered
	InflightMessages int     // messages with entries sent and not yet answered
	Paused           bool    // it said busy, full or failed; it is tried again after its next heartbeat response
	// Failures counts one after another what went wrong: refused appends, heartbeats that were not answered in time, lost
	// connections, full queues, failed log reads. An acknowledgement ends the row.
	Failures uint64
	Sent     FollowerCounts
	Backlog  uint64 // bytes that are committed and that it has not applied, as it said last
}

// Status is a copy of a core's state for users.
type Status struct {
	ShardID, ReplicaID uint64
	Role               Role
	Term, Vote         uint64
	Leader             uint64 // 0 when none is known
	Commit             uint64
	LastIndex          uint64
	Durable            uint64 // last entry that is durable here
	Applied            uint64 // last entry that the state machine reported as applied
	Storage            StorageState
	Quarantined        bool
	Installing         bool          // a snapshot is being installed
	WitnessStandIns    uint64        // a leader's: times that the commit index moved because a witness stood in (R19)
	Backlog            int           // bytes that are committed and not applied here
	LeaseEnd           Instant       // a leader's: it may answer reads without a round up to then; 0 if it has no lease
	ElectionTimeout    time.Duration // the base that is in force
	HeartbeatInterval  time.Duration
	Membership         *raftpb.Membership // effective; immutable
	Followers          []FollowerStatus   // a leader's; nil otherwise
	// Ignored counts messages for empty cells of the handler table, by type; Dropped counts those that were not for
	// this replica, or stale, or not credible.
	Ignored [raftpb.MessageTypeCount]uint64
	Dropped uint64
}
