package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// Cache is the host-wide log cache as the core sees it: bytes by reference. Get returns false when the chunk was
// evicted; the core then asks for a log read instead. Calls are made by the owner of the core only; the
// implementation is shared by all step workers and safe for concurrent use.
type Cache interface {
	// Put returns the reference of a batch that aliases the numbered chunk; for chunk 0 (a batch that was built
	// on this host or read from disk) it registers the batch's own bytes as a new chunk.
	Put(batch raftpb.Batch, chunk uint64) raftpb.BatchRef
	// Get returns the bytes that a reference stands for.
	Get(reference raftpb.BatchRef) (raftpb.Batch, bool)
}

// LogRead asks for old log that is not in the cache, for a follower that is behind or for the state machine. The
// engine reads it on a reader goroutine and hands the result to Core.LogReadDone with the request unchanged; a result
// whose Term or Generation no longer matches is dropped (R7).
type LogRead struct {
	ShardID, ReplicaID uint64
	Follower           uint64 // the follower that it is for, 0 for the local state machine
	Number             uint64 // number of the request within this core
	From, To           uint64 // first and last index wanted; the answer starts with the batch that holds From
	MaxBytes           int    // the answer may stop after this many bytes, after at least one batch
	Term               uint64 // the core's term when it asked
	Generation         uint64 // one higher at each truncation or reset of the log
}

// ReadState says that the reads handed in under ID may be served once Index is applied here.
type ReadState struct {
	ID    uint64
	Index uint64
	Lease bool // the leader's lease showed it, not a round of heartbeats
}

// Install says that this replica needs a snapshot that reaches (LogIndex, LogTerm) at least: the engine fetches one from replica Source
// under StreamID, and then calls Core.SnapshotReceived or Core.SnapshotFailed. One that is not ended may be followed by another, of a leader
// that does not hear the former source, or of another leader: as long as something comes of the former it goes on, and its end is the end of both;
// if nothing comes the other one takes its place. With Source 0 there is none in its place: the leader of the day sends its log, and
// waiting for a silent source is worth nothing.
type Install struct {
	ShardID, ReplicaID uint64
	Leader, Term       uint64
	Source             uint64 // the replica to ask for it
	Address            string // where that is, as the leader says; empty if it does not
	StreamID           uint64
	LogIndex, LogTerm  uint64
}

// Compaction says that the log up to Index may be removed: the engine puts it into the next group (logdb.Group.Compact).
type Compaction struct {
	ShardID, ReplicaID uint64
	Index, Term        uint64
}

// RefusalKind says what was refused.
type RefusalKind uint8

// What can be refused.
const (
	RefusedProposal RefusalKind = iota + 1 // ID is the origin's sequence
	RefusedRead                            // ID is the reads' ID
	RefusedTransfer                        // ID is the transfer's ID
	RefusedChange                          // ID is the membership change's ID
)

// Refusal answers a request of this host that was surely not done (MaybeApplied false) or whose outcome cannot be
// known (MaybeApplied true: a forwarded proposal whose link or leader was lost).
type Refusal struct {
	Kind         RefusalKind
	ID           uint64
	Reason       raftpb.Reason
	MaybeApplied bool
}

// EventKind says what happened.
type EventKind uint8

// The events of a core.
const (
	EventLeaderChanged       EventKind = iota + 1 // Leader (0: none), Term
	EventReplicationRejected                      // Replica rejected, Reason
	EventMembershipChanged                        // the effective membership is new; see Core.Membership
	EventTransferDone                             // ID: the transfer succeeded
	EventSecondLeader                             // Replica claimed the same term (R20)
	EventAbstaining                               // the replica remembers more than its log holds (R14) or is empty where it was known (R16)
	EventBootstrapped                             // every initial voter answered; the replica may vote
	EventRemoved                                  // a committed membership without this replica was shown to it (R18)
	EventFollowerCreated                          // leader: Replica is a follower from now on
	EventFollowerOnline                           // leader: Replica answers, for the first time or again
	EventFollowerOffline                          // leader: the link to Replica was lost, or it was silent for an election timeout
	EventFollowerDestroyed                        // leader no more, or Replica is no member any more
	EventFollowerStuck                            // leader: Replica answers, but has stood still at entry ID for several election timeouts
	EventHealed                                   // ID: the incarnation that the shard knows the replica by; its owner starts it anew as that
	EventWitnessStandsIn                          // leader: entry ID is committed on a witness in the place of a data voter that is not heard
	EventDataLost                                 // those that say that they lost their state leave no quorum: nothing can be decided
	EventIgnored                                  // a message for an empty cell of the handler table was counted and ignored
	EventMembersChanged                           // ID: the membership change is done
	EventClockDrift                               // the clock of voter Replica gains more than MaxClockDrift on this host's: it does not count for leases
	EventPulled                                   // a voter without a leader took entries up to ID from Replica, so that it may be elected
	EventSnapshotFailed                           // leader: Replica says that no snapshot came from replica ID, and why: Reason
	EventSnapshotReceived                         // the log begins anew behind entry ID, of a snapshot
)

// Event is something that the engine reports to its owner.
type Event struct {
	Kind    EventKind
	Term    uint64
	Leader  uint64
	Replica uint64
	ID      uint64
	Reason  raftpb.Reason
	// Membership is the one that ended the change (EventMembersChanged); immutable.
	Membership *raftpb.Membership
}

// Output collects what cores want done. One Output serves all replicas that a step worker touches in one
// iteration: Core.Drain appends to it. Slices inside messages and saves are carved from the arena, so an Output is read
// before the next Reset, and nothing in it is retained after that, except the bytes of batches.
type Output struct {
	// Messages may be sent now. Addressing is complete; the engine maps replica IDs to hosts.
	Messages []raftpb.Message
	// Saves are to be written; at most one per drained core.
	Saves []raftpb.Save
	// Apply are batches, in index order per shard, that are committed and durable here.
	Apply []raftpb.Batch
	// LogReads, Reads, Refusals, Events: see the types. What is both refused (MaybeApplied) and handed over for apply in
	// one Drain was refused first.
	LogReads []LogRead
	Reads    []ReadState
	Refusals []Refusal
	Events   []Event
	// Installs and Compactions: see the types.
	Installs    []Install
	Compactions []Compaction

	batches []raftpb.Batch
}

// Reset empties the Output and keeps its memory. It clears what refers to batches, so that an idle worker pins none.
func (o *Output) Reset() {
	clear(o.Messages)
	clear(o.Saves)
	clear(o.Apply)
	clear(o.batches)
	o.Messages = o.Messages[:0]
	o.Saves = o.Saves[:0]
	o.Apply = o.Apply[:0]
	o.LogReads = o.LogReads[:0]
	o.Reads = o.Reads[:0]
	o.Refusals = o.Refusals[:0]
	o.Events = o.Events[:0]
	o.Installs = o.Installs[:0]
	o.Compactions = o.Compactions[:0]
	o.batches = o.batches[:0]
}
