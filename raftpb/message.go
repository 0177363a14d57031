package raftpb

// MessageType says what a message between two replicas of a shard is.
type MessageType uint8

// The messages of the protocol. The comment of each names the fields that it uses besides the addressing
// (ShardID, From, To, the incarnations, the sessions, Term), which all carry.
const (
	// MessagePreVote asks whether the receiver would vote for the sender in Term, which is one above the
	// sender's own. LogIndex, LogTerm: the candidate's last entry. Request: number of the attempt.
	MessagePreVote MessageType = iota + 1
	// MessagePreVoteResponse answers it. Request echoed; Reason none means granted. Term: as asked when
	// granted, the receiver's own when rejected.
	MessagePreVoteResponse
	// MessageVote asks for a vote in Term. LogIndex, LogTerm, Request as in MessagePreVote. Flag
	// transfer: the candidate was told to campaign by the leader (sticky votes do not apply).
	MessageVote
	// MessageVoteResponse answers it. Request echoed; Reason none means granted.
	MessageVoteResponse
	// MessageReplicate carries Batches that follow the entry (LogIndex, LogTerm), and the Commit index. Request: number of the
	// message. Without batches and with Request 0 it announces the commit index and is not answered.
	MessageReplicate
	// MessageReplicateResponse answers it. Reason none: (LogIndex, LogTerm) is the last entry durable at
	// the sender that is known to agree with the leader. Otherwise Reason says why, and for
	// ReasonConflict HintIndex and HintTerm say where to look next. Request echoed.
	MessageReplicateResponse
	// MessageHeartbeat keeps the leader's authority, announces min(Commit, match), and confirms reads.
	// Request: the round, one higher for each; Time: the sender's clock, echoed. HintTerm: the newest Clock of the receiver
	// that the sender got before it sent the last round that a quorum confirmed, HintIndex: the sender's commit index then; both 0 if none.
	MessageHeartbeat
	// MessageHeartbeatResponse answers it. Request and Time echoed. LogIndex, LogTerm: last durable entry. HintIndex: for how
	// many nanoseconds from the receipt the sender votes for nobody else, 0 if it promises nothing; HintTerm: the sender's
	// clock; Backlog.
	MessageHeartbeatResponse
	// MessageReadIndex forwards a batch of reads from a follower to the leader. Request: its number there.
	MessageReadIndex
	// MessageReadIndexResponse answers it. Request echoed; LogIndex: the index to wait for, if Reason is none; then HintIndex is 1 if
	// the leader's lease showed it, 0 if a round of heartbeats did.
	MessageReadIndexResponse
	// MessagePropose forwards a sealed, unstamped batch in Batches[0] to the leader named by To, ToSession
	// and Term. Request: the origin's sequence (R2).
	MessagePropose
	// MessageProposeResponse refuses a forwarded proposal: Request echoed, Reason says why. A proposal that
	// was taken is not answered; the origin sees it applied.
	MessageProposeResponse
	// MessageTimeoutNow tells the receiver to campaign at once: leadership is handed to it.
	MessageTimeoutNow
	// MessageTransferLeader asks the leader to hand leadership to replica HintIndex. Request: its number.
	MessageTransferLeader
	// MessageTransferLeaderResponse refuses that: Request echoed, Reason says why.
	MessageTransferLeaderResponse
	// MessageSnapshotStatus tells the leader how the receiver's snapshot went. HintIndex: the stream of the leader's last
	// MessageInstallSnapshot. Reason none: the log begins behind (LogIndex, LogTerm), durably; else why it does not.
	MessageSnapshotStatus
	// MessageBootstrap asks an initial member what it is: the sender is empty (R16). Request: its number. Payload: the
	// sender's initial Membership, encoded, with the incarnations that it knows; when it knows all, they stay.
	MessageBootstrap
	// MessageBootstrapResponse answers: Request echoed. Reason none means "empty too", Payload as in MessageBootstrap;
	// ReasonNotEmpty carries the newest Membership in Payload, or the initial one, with all its incarnations, of a sender that knows
	// another incarnation of the receiver.
	MessageBootstrapResponse
	// MessageRemoved tells the receiver that it is no member any more: Payload is the committed Membership
	// that says so (R18).
	MessageRemoved
	// MessageProbe asks a follower whether it holds the entry (LogIndex, LogTerm). Request: number of the message; Commit as in
	// MessageReplicate. It carries no entries and is answered by MessageReplicateResponse.
	MessageProbe
	// MessageChangeMembers asks the leader for a change of the membership. Request: its number; Payload: the MembershipChange.
	MessageChangeMembers
	// MessageChangeMembersResponse answers it. Request echoed; Reason none: LogIndex is the ID of the operation's first membership.
	MessageChangeMembersResponse
	// MessageHeal asks for the sender's healing: it lost what its incarnation had promised. Outside of terms. HintIndex:
	// the incarnation that it wants to be from then on (R15).
	MessageHeal
	// MessageHealResponse refuses that: Reason says why.
	MessageHealResponse
	// MessagePull asks a voter with a longer log for the entries behind (LogIndex, LogTerm), so that the sender may be elected. Request:
	// its number. Outside of terms.
	MessagePull
	// MessagePullResponse answers it. Request echoed; HintIndex, HintTerm: the responder's last entry. Reason none: Batches follow the entry
	// (LogIndex, LogTerm); ReasonConflict: the responder does not hold the entry that was asked for, and (LogIndex, LogTerm) is
	// where the logs can agree at best; ReasonCompacted: the responder's log begins behind (LogIndex, LogTerm), which a snapshot of it
	// reaches.
	MessagePullResponse
	// MessageInstallSnapshot tells a follower that what it needs of the log is compacted. (LogIndex, LogTerm): the entry that a
	// snapshot has to reach at least; HintIndex: the stream to ask for; HintTerm: the replica to ask for it. It is repeated until
	// MessageSnapshotStatus answers it. Payload: the address of that replica, if it is known. To a witness: Payload is the
	// SnapshotMeta, encoded, which is all that it needs, and HintTerm is 0.
	MessageInstallSnapshot
	// MessageSnapshotPull asks a replica for a snapshot's bytes. Outside of terms, for the engine, not for the core. HintIndex: the
	// stream; LogIndex: the entry that the snapshot has to reach at least; HintTerm: the offset up to which the sender has
	// the bytes; Backlog: how many bytes behind that it takes now; ToSession: the life of the stream that the bytes are of, 0 before any has
	// come. Request grows when what is behind the offset may have been lost, and with a Reason it was.
	MessageSnapshotPull
	// MessageSnapshotChunk answers it with bytes. Outside of terms, for the engine. HintIndex: the stream; LogIndex, LogTerm: the
	// snapshot's entry, 0 while the sender has none yet; FromSession: the stream's life, whose bytes are mixed with those of no other; ToSession:
	// the receiver's; HintTerm: the offset of Payload in the snapshot; Request: the CRC-32C of Payload; Commit: the size of the
	// snapshot, 0 while it is not known; the chunk that ends there is the last. With a Reason there are no bytes, and none will come.
	MessageSnapshotChunk

	// MessageTypeCount is one more than the highest message type.
	MessageTypeCount
)

// Reason says why a request was not done. The zero value means that it was.
type Reason uint8

// The reasons.
const (
	ReasonNone          Reason = iota
	ReasonDenied               // vote: log too old, voted for another, or a leader is alive
	ReasonConflict             // replicate: the previous entry does not match
	ReasonBusy                 // the receiver's write budget or queue is full (R13)
	ReasonFull                 // the receiver's disk is full (R10)
	ReasonDamaged              // a batch failed its checksum at the receiver (R4)
	ReasonNotLeader            // the receiver does not lead in that term and session
	ReasonTermMismatch         // the proposal's expected term is not the leader's
	ReasonTransferring         // leadership is being handed over
	ReasonNotReady             // no entry of the leader's term is committed yet
	ReasonNotMember            // the sender, or the target, is not a member
	ReasonNotEmpty             // bootstrap: the receiver holds state
	ReasonTooLarge             // the proposal exceeds a limit
	ReasonStopped              // the receiver is stopping
	ReasonPendingChange        // a membership change is under way
	ReasonFailed               // the receiver's storage failed (R9)
	ReasonBehind               // vote: the candidate's log is shorter; HintIndex, HintTerm: the receiver's last entry
	ReasonStaleChange          // the membership change names another membership than the present one
	ReasonInvalidChange        // the membership change leads to no possible membership
	ReasonNotVoter             // the target cannot lead: a learner, a witness; or it is a witness and cannot serve
	ReasonLost                 // the data of a quorum is lost
	ReasonCanceled             // the membership change was canceled
	ReasonCompacted            // pull: the log that is asked for is compacted, a snapshot has to bring it

	// ReasonCount is one more than the highest reason.
	ReasonCount
)

// Message is one message between two replicas of a shard: plain data, copied by value. Batches and Payload
// alias the buffer that they were received in or built in and are never changed.
type Message struct {
	Type     MessageType
	Reason   Reason
	Transfer bool // vote: leadership transfer

	ShardID         uint64
	From, To        uint64 // replica IDs
	FromIncarnation uint64
	ToIncarnation   uint64 // 0 when the sender does not know it yet
	FromSession     uint64
	ToSession       uint64 // 0 when the sender does not know it yet
	Term            uint64

	LogIndex, LogTerm   uint64
	Commit              uint64
	Request             uint64
	HintIndex, HintTerm uint64
	Time                int64
	Backlog             uint64 // answers of a follower: bytes that are committed, as far as it knows, and not applied there

	Batches []Batch
	Payload []byte

	// Chunk is the number, in the receiving host's log cache, of the buffer that Batches alias; 0 when
	// there is none. It does not travel.
	Chunk uint64
}
