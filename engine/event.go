package engine

import (
	"sync"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// EventKind says what an Event reports.
type EventKind uint8

// The events of an engine.
const (
	EventLeaderChanged EventKind = iota + 1 // Leader (0: none), Term
	EventReplicaReady                       // the replica was started
	EventReplicaStopped
	EventReplicaQuarantined  // Err: the state machine's failure
	EventReplicaFenced       // Err: the violated assertion
	EventReplicaAbstaining   // the replica does not vote: its state is less than what it promised (R14, R16)
	EventReplicaDamaged      // Err: what is stored of it cannot be read; it is started all the same, abstains and asks to be healed
	EventReplicaHealed       // what it lost is made good: it begins anew, as a learner, in another incarnation (R15)
	EventReplicaHealFailed   // Err: it cannot begin anew, and is out of service until it is started again
	EventWitnessStandsIn     // the leader here commits with a witness in the place of a data voter that is not heard (R19)
	EventDataLost            // those that lost their state leave no quorum: the shard decides nothing (R16)
	EventReplicaBootstrapped // all first members answered: the shard may elect its first leader
	EventReplicaRemoved
	EventMembershipChanged
	EventProposalDropped     // Reason
	EventReplicationRejected // Peer replica, Reason
	EventFollowerCreated     // Peer replica: the leader here deals with it from now on
	EventFollowerOnline      // Peer replica: it answers, for the first time or again
	EventFollowerOffline     // Peer replica: the connection to it was lost (Err, if known), or it was silent for an election timeout
	EventFollowerDestroyed   // Peer replica: it is no member any more, or the leader here leads no more
	EventClockDrift          // Peer replica: its clock gains more than MaxClockDrift on this host's, so it does not count for leases
	EventFollowerStuck       // Peer replica: it answers, and its log has stood still for several election timeouts
	EventFollowerFailed      // Peer replica, Err: replication to it met an error
	EventSecondLeader        // Peer replica claimed our term (R20)
	EventConnectionUp        // Address
	EventConnectionDown      // Address, Err
	EventStorageFailed       // Err (R9)
	EventStorageStalled      // a write takes longer than MaxStall
	EventStorageRecovered    // it ended
	EventSnapshotTaken       // Index: it is durable; of a state machine on disk: it has synced
	EventSnapshotFailed      // Err: it is tried again, later each time
	EventSnapshotDamaged     // Err: a snapshot cannot be recovered from; an older one is tried, or the replica is damaged
	EventSnapshotOffered     // Peer replica, which it is fetched from; Index that it has to reach
	EventSnapshotReceived    // Peer replica, Index: it is durable here, and the log begins anew behind it
	EventSnapshotInstalled   // Index: the state machine has recovered from what was received
	EventSnapshotSent        // Peer replica, Index
	EventStreamFailed        // Peer replica, Err, Reason: a snapshot was not sent, not received, or not installed
	EventMachineStuck        // Err: a state machine has not moved for some seconds inside Save, Recover, Sync or Open
	EventAuditUndecided      // Index: replicas differ, there, and no majority of them agrees

	eventKindCount
)

// Event is something that happened on this host.
type Event struct {
	Kind      EventKind
	ShardID   uint64
	ReplicaID uint64
	Term      uint64
	Leader    uint64
	Peer      uint64
	Reason    raftpb.Reason
	Address   string
	Index     uint64
	Err       error
}

// eventQueue hands events to the listener on a worker of its own, so that a slow listener never blocks the engine. It is
// bounded; what does not fit is dropped and counted.
type eventQueue struct {
	sig      signal
	listener func(Event)
	limit    int
	spare    int // the part of limit that events of single followers leave free

	mu      sync.Mutex
	waiting []Event
	dropped uint64
	counts  [eventKindCount]uint64 // of all, the dropped ones too

	work []Event // owned by RunOnce
}

func newEventQueue(listener func(Event), limit int) *eventQueue {
	return &eventQueue{sig: newSignal(), listener: listener, limit: limit, spare: limit / 2}
}

func (q *eventQueue) Name() string    { return "events" }
func (q *eventQueue) Ready() bool     { return q.sig.ready() }
func (q *eventQueue) signal() *signal { return &q.sig }

// publish queues an event or counts it as dropped. Safe for concurrent use; never blocks.
func (q *eventQueue) publish(event Event) {
	q.mu.Lock()
	q.counts[event.Kind]++
	if len(q.waiting) >= q.limit || ofFollower(event.Kind) && len(q.waiting) >= q.limit-q.spare {
		q.dropped++
		q.mu.Unlock()
		return
	}
	q.waiting = append(q.waiting, event)
	q.mu.Unlock()
	q.sig.set()
}

// ofFollower are the events of which every leadership has several: a host that takes over thousands of shards must not lose what
// it is to know of the shards themselves among them.
func ofFollower(kind EventKind) bool {
	return kind == EventFollowerCreated || kind == EventFollowerOnline || kind == EventFollowerOffline || kind == EventFollowerDestroyed
}

// Dropped returns how many events did not fit.
func (q *eventQueue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// count returns how many events of a kind there were, whether or not somebody was told.
func (q *eventQueue) count(kind EventKind) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.counts[kind]
}

// RunOnce calls the listener with everything that waits. A panic of the listener ends that call only.
func (q *eventQueue) RunOnce(raft.Instant) raft.Instant {
	q.sig.clear()
	q.mu.Lock()
	q.waiting, q.work = q.work[:0], q.waiting
	q.mu.Unlock()
	for i := range q.work {
		q.deliver(q.work[i])
		q.work[i] = Event{}
	}
	return raft.Never
}

func (q *eventQueue) deliver(event Event) {
	defer func() { _ = recover() }()
	q.listener(event)
}
