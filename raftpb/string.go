package raftpb

import (
	"fmt"
	"strconv"
	"strings"
)

var kindNames = [...]string{
	KindCommands: "commands", KindNoOp: "no-op", KindMembership: "membership", KindSession: "session", KindAudit: "audit",
}

// String returns the kind's name in one word.
func (k Kind) String() string { return nameOf(kindNames[:], "kind", uint64(k)) }

var messageTypeNames = [...]string{
	MessagePreVote: "PreVote", MessagePreVoteResponse: "PreVoteResponse",
	MessageVote: "Vote", MessageVoteResponse: "VoteResponse",
	MessageReplicate: "Replicate", MessageReplicateResponse: "ReplicateResponse",
	MessageHeartbeat: "Heartbeat", MessageHeartbeatResponse: "HeartbeatResponse",
	MessageReadIndex: "ReadIndex", MessageReadIndexResponse: "ReadIndexResponse",
	MessagePropose: "Propose", MessageProposeResponse: "ProposeResponse",
	MessageTimeoutNow:     "TimeoutNow",
	MessageTransferLeader: "TransferLeader", MessageTransferLeaderResponse: "TransferLeaderResponse",
	MessageSnapshotStatus: "SnapshotStatus",
	MessageBootstrap:      "Bootstrap", MessageBootstrapResponse: "BootstrapResponse",
	MessageRemoved: "Removed", MessageProbe: "Probe",
	MessageChangeMembers: "ChangeMembers", MessageChangeMembersResponse: "ChangeMembersResponse",
	MessageHeal: "Heal", MessageHealResponse: "HealResponse",
	MessagePull: "Pull", MessagePullResponse: "PullResponse",
	MessageInstallSnapshot: "InstallSnapshot", MessageSnapshotPull: "SnapshotPull", MessageSnapshotChunk: "SnapshotChunk",
}

// String returns the type's name in one word.
func (t MessageType) String() string { return nameOf(messageTypeNames[:], "type", uint64(t)) }

var reasonNames = [...]string{
	ReasonNone: "none", ReasonDenied: "denied", ReasonConflict: "conflict", ReasonBusy: "busy", ReasonFull: "full",
	ReasonDamaged: "damaged", ReasonNotLeader: "not-leader", ReasonTermMismatch: "term-mismatch",
	ReasonTransferring: "transferring", ReasonNotReady: "not-ready", ReasonNotMember: "not-member",
	ReasonNotEmpty: "not-empty", ReasonTooLarge: "too-large", ReasonStopped: "stopped",
	ReasonPendingChange: "pending-change", ReasonFailed: "failed", ReasonBehind: "behind",
	ReasonStaleChange: "stale-change", ReasonInvalidChange: "invalid-change", ReasonNotVoter: "not-voter", ReasonLost: "lost",
	ReasonCanceled: "canceled", ReasonCompacted: "compacted",
}

// String returns the reason's name in one word.
func (r Reason) String() string { return nameOf(reasonNames[:], "reason", uint64(r)) }

var memberKindNames = [...]string{Voter: "voter", Learner: "learner", Witness: "witness"}

// String returns the member kind's name in one word.
func (k MemberKind) String() string { return nameOf(memberKindNames[:], "member-kind", uint64(k)) }

var goalNames = [...]string{
	GoalStay: "stay", GoalVoter: "voter", GoalWitness: "witness", GoalLearner: "learner", GoalRemoved: "removed",
}

// String returns the goal's name in one word.
func (g MemberGoal) String() string { return nameOf(goalNames[:], "goal", uint64(g)) }

var snapshotKindNames = [...]string{SnapshotMemory: "memory", SnapshotDisk: "disk", SnapshotWitness: "witness"}

// String returns the kind's name in one word.
func (k SnapshotKind) String() string {
	return nameOf(snapshotKindNames[:], "snapshot-kind", uint64(k))
}

// nameOf also names values that have no name, since what is printed may not have been checked.
func nameOf(names []string, what string, value uint64) string {
	if value < uint64(len(names)) && names[value] != "" {
		return names[value]
	}
	return what + "(" + strconv.FormatUint(value, 10) + ")"
}

// String describes the batch's header in one line, without addresses or checksums, for test scripts and logs. Fields that
// are 0 are left out. It works on any bytes.
func (b Batch) String() string {
	if len(b) < HeaderSize {
		return fmt.Sprintf("batch(%d bytes)", len(b))
	}
	var s strings.Builder
	s.WriteString(b.Kind().String())
	if b.First() == 0 {
		fmt.Fprintf(&s, " unstamped count=%d", b.Count())
	} else {
		fmt.Fprintf(&s, " [%d,%d] term=%d", b.First(), b.Last(), b.Term())
	}
	origin := b.Origin()
	if origin.Replica != 0 {
		fmt.Fprintf(&s, " origin=%d/%d/%d", origin.Replica, origin.Session, origin.Sequence)
	}
	if origin.Piece != 0 || origin.Count != b.Count() {
		fmt.Fprintf(&s, " piece=%d/%d", origin.Piece, origin.Count)
	}
	appendNumber(&s, "expected-term", b.ExpectedTerm())
	fmt.Fprintf(&s, " bytes=%d", b.PlainLength())
	for i, name := range [...]string{"compressed", "sessions", "body-omitted"} {
		if b.Flags()&(1<<i) != 0 {
			s.WriteString(" " + name)
		}
	}
	return s.String()
}

// String describes the message in one line, for test scripts and logs. Fields that are 0 are left out.
func (m Message) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s %d->%d", m.Type, m.From, m.To)
	appendNumber(&s, "shard", m.ShardID)
	appendNumber(&s, "term", m.Term)
	if m.LogIndex != 0 || m.LogTerm != 0 {
		fmt.Fprintf(&s, " log=%d/%d", m.LogIndex, m.LogTerm)
	}
	appendNumber(&s, "commit", m.Commit)
	appendNumber(&s, "request", m.Request)
	if m.Reason != ReasonNone {
		s.WriteString(" reason=" + m.Reason.String())
	}
	if m.HintIndex != 0 || m.HintTerm != 0 {
		fmt.Fprintf(&s, " hint=%d/%d", m.HintIndex, m.HintTerm)
	}
	if m.Transfer {
		s.WriteString(" transfer")
	}
	if m.Time != 0 {
		fmt.Fprintf(&s, " time=%d", m.Time)
	}
	appendNumber(&s, "backlog", m.Backlog)
	appendNumber(&s, "from-incarnation", m.FromIncarnation)
	appendNumber(&s, "to-incarnation", m.ToIncarnation)
	appendNumber(&s, "from-session", m.FromSession)
	appendNumber(&s, "to-session", m.ToSession)
	for _, batch := range m.Batches {
		s.WriteString(" {" + batch.String() + "}")
	}
	if len(m.Payload) > 0 {
		fmt.Fprintf(&s, " payload=%d", len(m.Payload))
	}
	return s.String()
}

func appendNumber(s *strings.Builder, name string, value uint64) {
	if value != 0 {
		fmt.Fprintf(s, " %s=%d", name, value)
	}
}
