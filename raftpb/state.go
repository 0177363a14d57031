package raftpb

// HardState is what a replica must remember about its term (thesis figure 3.1). Commit is a hint: it is
// written along with other things and never forces a sync by itself.
type HardState struct {
	Term   uint64
	Vote   uint64 // replica voted for in Term, 0 for none
	Commit uint64
}

// MemberKind says what a member does.
type MemberKind uint8

const (
	// Voter votes and counts for commit.
	Voter MemberKind = 1
	// Learner receives the log and serves reads, and does not vote.
	Learner MemberKind = 2
	// Witness votes and acknowledges headers, and holds no commands.
	Witness MemberKind = 3
)

// Member is one replica of a shard as its membership records it.
type Member struct {
	ReplicaID   uint64
	Kind        MemberKind
	Incarnation uint64 // 0 until it is known (R15)
	Address     string // where its host listens
	Goal        MemberGoal
	Priority    Priority
	// Added says that the change under way brought the member, so that to cancel the change is to remove it.
	Added bool
	// Healed is what a learner was that lost its state and was healed while a change is under way, so that to cancel the change is
	// to make it that again; 0 for any other member.
	Healed MemberKind
}

// MemberGoal is what a member is to become by the change under way. It is part of the membership entry, so that whoever
// leads next goes on with the change (R18).
type MemberGoal uint8

const (
	// GoalStay says that the member stays what it is.
	GoalStay MemberGoal = iota
	// GoalVoter is for a learner that is promoted once it has caught up.
	GoalVoter
	// GoalWitness is for a learner that becomes a witness once it has caught up; it gets headers only, as a witness does.
	GoalWitness
	// GoalLearner is for a voter that is demoted once those that are to be promoted have caught up.
	GoalLearner
	// GoalRemoved is for a member that leaves once those that are to be promoted have caught up.
	GoalRemoved

	goalCount
)

// Priority says how much a voter is wanted as leader, from PriorityLast to 255. PriorityDefault stands for PriorityNormal.
type Priority uint8

const (
	// PriorityDefault is the zero value and counts as PriorityNormal.
	PriorityDefault Priority = 0
	// PriorityLast is for a voter that leads only when no other can (R21).
	PriorityLast Priority = 1
	// PriorityNormal is what voters have unless they are given another priority.
	PriorityNormal Priority = 100
)

// Rank returns the priority with the default filled in.
func (p Priority) Rank() int {
	if p == PriorityDefault {
		return int(PriorityNormal)
	}
	return int(p)
}

// Membership is a shard's configuration. It takes effect when its entry is appended (R17).
type Membership struct {
	ID      uint64   // index of the entry that made it; 0 for the initial one
	Members []Member // sorted by ReplicaID
	// Outgoing is not empty while the membership is joint (thesis 4.3): Members are the incoming configuration, Outgoing the one
	// that is left, and every decision needs a majority of the voters of both. Sorted by ReplicaID.
	Outgoing []Member
	// Operation is the ID of the first membership of the change that this one belongs to. The change is done with the first
	// membership of that operation which is not joint and in which no member has a goal. A membership that only records what
	// was learned keeps it. 0 for the initial membership.
	Operation uint64
}

// Joint says that two configurations are in effect together.
func (m *Membership) Joint() bool { return len(m.Outgoing) > 0 }

// MembershipChange asks for members to become something else, atomically.
type MembershipChange struct {
	// IfID, if not 0, is the ID of the only membership that the change may follow.
	IfID    uint64
	Members []MemberChange
}

// MemberChange says what one member is to be in the end.
type MemberChange struct {
	ReplicaID uint64
	Kind      MemberKind // 0: no member
	Address   string     // of a new member, or the new one of a present member; empty keeps it
	Priority  Priority   // PriorityDefault keeps that of a present member
}

// ConfigRecord is a membership together with the position of the entry that holds it.
type ConfigRecord struct {
	Index      uint64
	Membership Membership
}

// TermStart says that the entries from First on, up to the next TermStart, have Term.
type TermStart struct {
	Term, First uint64
}

// Bootstrap is what a replica was started with. It is written before the replica says anything.
type Bootstrap struct {
	Incarnation uint64
	Join        bool       // the replica joins an existing shard and waits for its leader
	Initial     Membership // the initial members when not joining; once the incarnations of all voters are known they stay (R16)
	Complete    bool       // every initial voter has shown the same Initial: the replica may vote
}

// Save is what one step of one replica wants written, atomically and durably. The log store applies its
// parts in the order of the fields.
type Save struct {
	ShardID   uint64
	ReplicaID uint64

	// Number counts the writes of this replica's session from 1; completions are matched by it (R7).
	Number uint64

	// Bootstrap, if not nil, replaces the stored one.
	Bootstrap *Bootstrap
	// State replaces the stored hard state if StateChanged.
	State        HardState
	StateChanged bool
	// Installing, if not nil, begins the log anew behind a snapshot: it removes everything that is stored of the log, makes
	// (Installing.Index, Installing.Term) the compacted entry and Installing.Config the only config record. It is
	// remembered until Installed: the state machine may hold anything until then, and has to be recovered from that
	// snapshot. A log that holds the snapshot's entry needs none, so no part of it is ever kept.
	Installing *SnapshotMeta
	// Installed forgets what Installing had to be remembered for, that of this save included.
	Installed bool
	// TruncateFrom, if not 0, removes every stored batch whose first index is at or above it, and every
	// config record at or above it. It is always the first index of a stored batch; if the log was cut
	// inside a batch, Batches begins with the piece that is kept.
	TruncateFrom uint64
	// Batches are appended; they follow what is left of the log without a gap.
	Batches []Batch
	// Configs are the memberships among Batches, for finding them without reading the log.
	Configs []ConfigRecord
	// MustSync says that something waits for this write to be durable. A mere change of State.Commit
	// does not set it.
	MustSync bool
}

// Stored is what a log store returns for a replica when it is started.
type Stored struct {
	Bootstrap Bootstrap
	State     HardState
	// Compacted is the last entry that was removed from the front of the log, with its term; 0 if none.
	Compacted     uint64
	CompactedTerm uint64
	// Last is the index of the last entry, equal to Compacted for an empty log.
	Last uint64
	// Terms covers (Compacted, Last], ascending.
	Terms []TermStart
	// Configs are the stored memberships, ascending by index: the newest at or below Compacted, and all above.
	Configs []ConfigRecord
	// Installing, if not nil, is the snapshot that the state machine has to be recovered from; see Save.Installing. Compacted is
	// at or above its Index.
	Installing *SnapshotMeta
}

// SnapshotKind says what kind of state machine a snapshot is of: only the same kind can recover from it.
type SnapshotKind uint8

const (
	// SnapshotMemory is of a state machine in memory, concurrent or not.
	SnapshotMemory SnapshotKind = 1
	// SnapshotDisk is of a state machine that keeps its own data on disk.
	SnapshotDisk SnapshotKind = 2
	// SnapshotWitness is of a witness: memberships and sessions, no state.
	SnapshotWitness SnapshotKind = 3
)

// SnapshotMeta says what a snapshot holds.
type SnapshotMeta struct {
	ShardID, ReplicaID uint64 // ReplicaID is the replica that took it
	// Index and Term are those of the last entry whose effect is in the snapshot.
	Index, Term uint64
	// Config is the newest membership at or below Index.
	Config ConfigRecord
	Kind   SnapshotKind
	// StateVersion is the state machine's own number for the format of its state.
	StateVersion uint64
}

// BatchRef says where a batch stands in the host's log cache. It holds no pointer, so that long run lists
// cost the garbage collector nothing and an evicted chunk is really free.
type BatchRef struct {
	Chunk  uint64 // number of the chunk, 0 for none
	Offset uint32
	Length uint32
}
