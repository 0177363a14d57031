package logdb

import (
	"errors"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Errors that every LogDB returns, wrapped with detail.
var (
	// ErrNotFound says that the log store holds nothing of that replica.
	ErrNotFound = errors.New("logdb: replica not found")
	// ErrCompacted says that the wanted entries were removed from the front of the log.
	ErrCompacted = errors.New("logdb: entries were compacted")
	// ErrUnavailable says that the wanted entries are beyond the end of the log.
	ErrUnavailable = errors.New("logdb: entries are not there yet")
	// ErrDamaged says that stored bytes fail their checksum or do not fit together. The text names shard, index and place.
	ErrDamaged = errors.New("logdb: stored data is damaged")
	// ErrFailed says that a write or sync failed earlier: the store takes no more writes until it is opened anew (R9).
	ErrFailed = errors.New("logdb: a write failed earlier")
	// ErrOtherStore says that the directory holds files that are not of this store. It is left as it is: a new, empty log beside the old one would
	// have forgotten every promise.
	ErrOtherStore = errors.New("logdb: directory of another log store")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("logdb: closed")
)

// ReplicaKey names a replica's log within a host's store.
type ReplicaKey struct {
	ShardID, ReplicaID uint64
}

// LogDB stores the logs and the small states of all replicas of one host. It is written for asynchronous completion:
// Commit returns at once and calls back when the write is durable; nothing in the engine waits for a disk in between.
//
// Implementations are checked by package logdbtest.
type LogDB interface {
	// Name says which implementation it is, as in "pebble".
	Name() string

	// NewGroup returns an empty group. Groups are filled by step workers, each its own, and recycled by the store after
	// the Commit that they were handed to has completed.
	NewGroup() Group

	// Commit writes the groups, in the given order, as one atomic, durable write: after a crash either all of it or
	// none of it is there; a store on several devices promises that for what is of one replica. It takes the groups over and calls done exactly once, possibly before it returns and from any
	// goroutine, with nil once everything is durable. It returns without waiting for the writes under way; while there are none, a
	// store may do a write on the caller's goroutine, which saves two changes of goroutine. Calls of done come in the
	// order of the Commits. One goroutine commits at a time; several Commits may be under way. After the first
	// error every later Commit ends with ErrFailed (R9). If no save in the groups has MustSync, the store may report
	// completion without a sync; such data is durable no later than that of the next Commit that syncs.
	// done must be short and may call Commit.
	Commit(groups []Group, done func(error))

	// Load returns what is stored for a replica, or ErrNotFound. It verifies what it reads: headers, checksums,
	// contiguity. ErrDamaged fails this replica only.
	Load(key ReplicaKey) (raftpb.Stored, error)

	// Read appends to into the stored batches from the one that holds index from up to the one that holds index to,
	// ending early once maxBytes were read, but never before the first batch. The batches are freshly allocated
	// or immutable, belong to the caller, and are header-checked; bodies are verified too. Safe for concurrent use, also with Commit; it
	// sees at least everything whose Commit completed before the call.
	Read(key ReplicaKey, from, to uint64, maxBytes int, into []raftpb.Batch) ([]raftpb.Batch, error)

	// List returns the keys of all replicas with stored state, ascending.
	List() ([]ReplicaKey, error)

	// Close waits for the writes under way and releases the store.
	Close() error
}

// Group collects the saves of many replicas for one Commit, encoded on the goroutine that adds them, so that the log
// writer only concatenates (R13). Not safe for concurrent use.
type Group interface {
	// Save adds what one replica wants written. It copies; nothing of the save is retained. The error is ErrDamaged-free: it only
	// reports a save that cannot be encoded (a caller's mistake) and leaves the group unchanged.
	Save(save *raftpb.Save) error
	// Compact removes whole batches that end at or below index from the front of a replica's log, remembering index and term.
	Compact(key ReplicaKey, index, term uint64)
	// Remove removes everything of a replica. It makes the group wait for durability, as a save with MustSync does.
	Remove(key ReplicaKey)
	// Bytes returns the size in bytes of what was added, for the writer's budget.
	Bytes() int
	// MustSync reports whether something in the group waits for durability.
	MustSync() bool
	// Empty reports whether nothing was added.
	Empty() bool
}
