package rsm

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Errors of snapshots and of state machines that keep their own data, for errors.Is; texts say more.
var (
	// ErrNoSnapshots says that the state machine has no means of being saved: it is rebuilt from the whole log.
	ErrNoSnapshots = errors.New("rsm: state machine takes no snapshots")
	// ErrNothingApplied says that there is nothing to be saved yet.
	ErrNothingApplied = errors.New("rsm: nothing is applied yet")
	// ErrSnapshotKind says that a snapshot is of another kind of state machine than the one that is to recover from it.
	ErrSnapshotKind = errors.New("rsm: snapshot is of another kind of state machine")
	// ErrStateVersion says that a snapshot was written by a later version of the state machine.
	ErrStateVersion = errors.New("rsm: snapshot is of a later version of the state machine")
	// ErrSnapshotUnread says that a state machine left a part of a snapshot unread while it recovered.
	ErrSnapshotUnread = errors.New("rsm: snapshot was not read to its end")
	// ErrSessionsUnwritten says that a SessionKeeper did not ask for what it has to write of the sessions.
	ErrSessionsUnwritten = errors.New("rsm: state machine does not write its sessions")
	// ErrStateBehind says that an on-disk state machine came up with less than the log begins with: its data was lost, or a Sync was none.
	ErrStateBehind = errors.New("rsm: state machine's data ends before the log begins")
	// ErrMachinePanicked says that the state machine panicked; the text has what it said.
	ErrMachinePanicked = errors.New("rsm: state machine panicked")
)

// Kind says what a state machine is able to do, as OpenManager found it.
type Kind uint8

const (
	// KindReplayed is a StateMachine alone: no snapshots, so its shard's log is never compacted and every start replays all of it.
	KindReplayed Kind = iota + 1
	// KindMemory is a Snapshotter.
	KindMemory
	// KindConcurrent is a Concurrent that is not OnDisk.
	KindConcurrent
	// KindOnDisk is an OnDisk.
	KindOnDisk
)

var kindNames = [...]string{KindReplayed: "replayed", KindMemory: "memory", KindConcurrent: "concurrent", KindOnDisk: "on disk"}

// String returns the kind's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Snapshot returns the kind of the snapshots that a state machine of this kind takes and recovers from: the two kinds in memory share
// one. It is 0 for KindReplayed.
func (k Kind) Snapshot() raftpb.SnapshotKind {
	switch k {
	case KindMemory, KindConcurrent:
		return raftpb.SnapshotMemory
	case KindOnDisk:
		return raftpb.SnapshotDisk
	}
	return 0
}

// KindOf returns what a state machine is. One that is both Snapshotter and Concurrent is Concurrent.
func KindOf(machine StateMachine) Kind {
	switch machine.(type) {
	case OnDisk:
		return KindOnDisk
	case Concurrent:
		return KindConcurrent
	case Snapshotter:
		return KindMemory
	}
	return KindReplayed
}

// SnapshotWriter is where a state machine writes its state. Write is the state proper. After it, files may be added, each under a name that is
// only a label for Recover; what File returns is written to until the next File. It ends with the Save that it was handed to. Writes
// fail once ctx of that Save has ended, so a Save that passes errors on needs to look at ctx only where it computes for long.
type SnapshotWriter interface {
	io.Writer
	// File begins a file. Names are 1 to 1024 bytes; the state cannot be written any more.
	File(name string) (io.Writer, error)
}

// SnapshotReader is where a state machine finds what Save wrote. Read is the state proper and ends with io.EOF. All of it has to be
// read, to that io.EOF, and then every file: what is left unread fails the recovery (ErrSnapshotUnread), for it shows that
// Save and Recover disagree. A byte that is handed out was checked; that nothing is missing at the end is known at the end.
type SnapshotReader interface {
	io.Reader
	// NextFile goes to the next file, or returns io.EOF after the last one. The content is valid until the next call.
	NextFile() (name string, content io.Reader, err error)
	// StateVersion is what StateVersioner said where the snapshot was taken, 0 without it. It is never higher than what this
	// state machine says.
	StateVersion() uint64
}

// Snapshotter is a state machine in memory that can be saved while nothing is applied: the simplest kind that lets the log be
// compacted. One whose state is large should be Concurrent.
type Snapshotter interface {
	StateMachine
	// Save writes the whole state. Updates are held up until it returns, Lookups go on beside it, on other goroutines. An error, or a
	// panic, ends this snapshot alone.
	Save(ctx context.Context, to SnapshotWriter) error
	// Recover replaces the whole state, in whatever state the machine is, by what Save wrote on this replica or another. Nothing else
	// is called meanwhile. After an error, or a panic, the replica is quarantined: no further call but Close is made.
	Recover(ctx context.Context, from SnapshotReader) error
}

// View is the state of a state machine as it was when it was prepared.
type View interface {
	// Save writes the state as Snapshotter.Save does, but Updates, Lookups and Sync go on beside it, on other goroutines: it must write
	// what was there at Prepare. It may be called once.
	Save(ctx context.Context, to SnapshotWriter) error
	// Close lets go of the view, saved or not. It is called once, before Recover and Close of the state machine.
	Close() error
}

// Concurrent is a state machine that is saved while Updates go on.
type Concurrent interface {
	StateMachine
	// Prepare fixes the state as it is: a copy-on-write root, an iterator of a store. It is called between two Updates and holds them up,
	// so it must be short, at most a few milliseconds. Several views may exist. An error ends this snapshot alone.
	Prepare() (View, error)
	// Recover is Snapshotter.Recover. No view exists meanwhile.
	Recover(ctx context.Context, from SnapshotReader) error
}

// OnDisk is a state machine that keeps its data itself. With the data it keeps, in the same atomic writes, the applied
// index: that of the last entry that an Update has handed to it. It need not be durable when Update returns: after a crash the machine may come back as
// it was after any earlier Update, but not before the last Sync, and the log is replayed from there. Results that were already answered
// are computed again, unseen.
//
// A snapshot is the state together with that index: Recover makes the machine one that would report the index of the machine it
// was taken from. A machine that is to have client sessions is a SessionKeeper, too.
type OnDisk interface {
	Concurrent
	// Open opens the data, or makes it, and returns the applied index, 0 if there is none. It is called once, before everything else. A
	// machine whose Recover was interrupted by a crash may come up with whatever is left, and with any index: the engine recovers
	// it again before it believes it.
	Open(ctx context.Context) (applied uint64, err error)
	// Sync makes everything durable that was applied before the call. Updates, Lookups and views go on beside it. After an error the
	// replica is quarantined: a sync that failed tells nothing of what a later one would (R9).
	Sync() error
}

// SessionKeeper is an OnDisk that keeps the client sessions beside its data, which is what exactly-once takes on disk: if the data were there
// after a crash and the session not, a retry would find no result and run twice (R26). Without it OpenSession is refused with
// ErrNoSessions.
type SessionKeeper interface {
	OnDisk
	// UpdateWithSessions is Update for a machine that keeps sessions: it is called in its place, always. Having set the results it calls
	// delta.Writes and puts those writes, and delta.Index as the applied index, into the same atomic write as its data. There
	// may be no entries, only a delta. Not to call Writes is an error. Recover drops the sessions that were kept; those of the snapshot
	// come right after it, in one or several deltas without entries.
	UpdateWithSessions(entries []Entry, delta *SessionDelta) error
	// LoadSessions hands every key and value that deltas have left to yield, in any order, and stops at its first error, which it returns. It
	// is called after Open. The slices need not stay valid after yield has returned.
	LoadSessions(yield func(key, value []byte) error) error
}

// SessionWrite is one change of what a SessionKeeper keeps of sessions: Value under Key, or without Value, Key is removed.
// Keys are 8 to 16 bytes; they share a space of their own, so a machine whose store has other keys puts a prefix in front.
type SessionWrite struct {
	Key, Value []byte
	Delete     bool
}

// The following are optional for every kind. All are called on whatever goroutine applies the shard, never beside each other or an
// Update, in this order relative to Updates:
//
//	LeaderStarted(t)       after the first entry of the term t was applied, before what follows it
//	LeaderStopped(t)       after everything that was handed over while the replica led; once for each LeaderStarted, before the next, and before Close
//	MembershipApplied      after the Updates of what precedes the membership in the log, before those of what follows
//	SnapshotInstalled      after Recover, before the next Update
//
// They must be short. A panic quarantines the replica; after that none is called any more.

// StateVersioner numbers the format of what Save writes. A snapshot of a higher number than the machine's own is refused with
// ErrStateVersion; one of a lower number is Recover's to understand, by SnapshotReader.StateVersion. Without it the number is 0.
// It is asked for once, when the state machine was made.
type StateVersioner interface{ StateVersion() uint64 }

// LeaderListener is told when the replica here begins and ceases to lead. It begins once the first entry of its term is applied, so
// that the state holds all that was committed before; a leadership that is lost before is not told. What it says
// is past when it is heard: another leader may exist. It tells work that is done on one host where to run, not what may be written.
type LeaderListener interface {
	LeaderStarted(term uint64)
	LeaderStopped(term uint64)
}

// MembershipListener is told each membership when it is committed and applied; during a joint change one that is joint, too. A recovery
// from a snapshot tells the snapshot's by MembershipApplied before SnapshotInstalled.
type MembershipListener interface {
	MembershipApplied(index uint64, membership raftpb.Membership)
}

// SnapshotListener is told that the state was replaced by a snapshot: what was derived from the former state is void.
type SnapshotListener interface {
	SnapshotInstalled(index, term uint64)
}
