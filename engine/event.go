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
	EventReplicaBootstrapped // all first members answered: the shard may elect its first leader
	EventReplicaRemoved
	EventMembershipChanged
	EventProposalDropped     // Reason
	EventReplicationRejected // Peer replica, Reason
	EventFollowerOffline     // Peer replica: its host cannot be reached
	EventFollowerOnline      // Peer replica: its host is reached again
	EventFollowerFailed      // Peer replica, Err: replication to it met an error
	EventSecondLeader        // Peer replica claimed our term (R20)
	EventConnectionUp        // Address
	EventConnectionDown      // Address, Err
	EventStorageFailed       // Err (R9)
	EventStorageStalled      // a write takes longer than MaxStall
	EventStorageRecovered    // it ended
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
	Err       error
}

// eventQueue hands events to the listener on a worker of its own, so that a slow listener never blocks the engine. It is
// bounded; what does not fit is dropped and counted.
type eventQueue struct {
	sig      signal
	listener func(Event)
	limit    int

	mu      sync.Mutex
	waiting []Event
	dropped uint64

	work []Event // owned by RunOnce
}

func newEventQueue(listener func(Event), limit int) *eventQueue {
	return &eventQueue{sig: newSignal(), listener: listener, limit: limit}
}

func (q *eventQueue) Name() string    { return "events" }
func (q *eventQueue) Ready() bool     { return q.sig.ready() }
func (q *eventQueue) signal() *signal { return &q.sig }

// publish queues an event or counts it as dropped. Safe for concurrent use; never blocks.
func (q *eventQueue) publish(event Event) {
	q.mu.Lock()
	if len(q.waiting) >= q.limit {
		q.dropped++
		q.mu.Unlock()
		return
	}
	q.waiting = append(q.waiting, event)
	q.mu.Unlock()
	q.sig.set()
}

// Dropped returns how many events did not fit.
func (q *eventQueue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
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
