package rsm

import "errors"

// ErrQuarantined says that the state machine returned an error or panicked earlier, so that its replica neither leads, reads
// nor applies until a restart (R24).
var ErrQuarantined = errors.New("rsm: state machine failed, replica is quarantined")

// ErrClosed says that the state machine was closed.
var ErrClosed = errors.New("rsm: state machine is closed")

// ErrLookupPanicked says that the state machine panicked in a Lookup. The state is untouched and later calls go on.
var ErrLookupPanicked = errors.New("rsm: lookup panicked")

// Result is what a state machine answers to one command: a number, and optional bytes that the engine keeps until
// the caller has them; those of a client session's call until the client acknowledges it. The state machine must not change them
// afterwards, so it hands out no slice of its state that it writes to.
type Result struct {
	Value uint64
	Data  []byte
}

// Entry is one committed command on its way through a state machine. Command is read-only, has capacity equal to its length, and
// may be retained: it is never overwritten, but a retained command keeps the whole buffer that it came in alive.
type Entry struct {
	Index   uint64
	Command []byte
	Result  Result // set by Update
}

// StateMachine is what every state machine has. One that has nothing more is in memory and rebuilt from the whole log at every start; the other
// kinds are Snapshotter, Concurrent and OnDisk. All calls are made one at a
// time, except that Lookups run concurrently with each other, never with Update.
type StateMachine interface {
	// Update applies entries in order and sets each entry's Result. Indexes ascend but need not be contiguous: entries of the
	// engine's own are not shown. It must be deterministic: equal entries give equal states and results on every replica. The
	// slice is reused after the call. An error, or a panic, quarantines the replica: the entries' outcome is unknown to their
	// callers and no further call but Close is made.
	Update(entries []Entry) error
	// Lookup answers a query from the current state without changing it.
	Lookup(query any) (any, error)
	// Close releases what the state machine holds.
	Close() error
}

// Factory makes the state machine of one replica.
type Factory func(shardID, replicaID uint64) (StateMachine, error)
