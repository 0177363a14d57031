package rsm

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Failure says how a state machine failed. It is an error that matches ErrQuarantined.
type Failure struct {
	// Index is the applied index before the Update that failed.
	Index uint64
	// Cause is the error returned, or what the panic was called with.
	Cause error
	// Stack is where it panicked; empty for a returned error.
	Stack []byte
}

// Error describes the failure in one line.
func (f *Failure) Error() string {
	return fmt.Sprintf("%v: after index %d: %v", ErrQuarantined, f.Index, f.Cause)
}

// Unwrap makes errors.Is find both ErrQuarantined and the cause.
func (f *Failure) Unwrap() []error { return []error{ErrQuarantined, f.Cause} }

// Manager applies committed batches to one state machine, takes images of it and recovers it from snapshots. What it asks of the engine:
//
//   - Apply, StartAt, Prepare, Recover, Renew, Close and the Tell methods are called by one goroutine at a time, the one that applies the shard.
//   - An Image is saved and closed by any one goroutine. Sync runs on any goroutine, one at a time, beside Apply.
//   - Recover, Renew and Close come when there is no Image and no Sync, and Apply when there is no Image of a KindMemory.
//
// The last point is asserted, never waited for: a wait would hold a worker up, or the simulator's only goroutine for ever. Lookup,
// Applied, AppliedAt, SyncedIndex and Failure are safe for concurrent use.
type Manager struct {
	machine StateMachine
	kind    Kind
	version uint64 // of the state's format, asked for once: who asks later may be a worker that a user's code must not hold up
	applied atomic.Uint64
	synced  atomic.Uint64
	failure atomic.Pointer[Failure]

	sessions   sessionTable // of the goroutine that applies
	noSessions atomic.Bool

	hearsOfLeaders atomic.Bool

	// An on-disk machine comes up with what it had applied: entries up to opened are not shown to it.
	opened uint64

	placeMu sync.Mutex // a leaf
	at      place      // of applied
	kept    place      // of the last entry that an on-disk machine counts as applied

	audit audit

	images, exclusive atomic.Int32 // open ones; exclusive are those that no Update may meet
	syncing           atomic.Int32

	// mu lets Lookups run together and keeps them out of Update, Recover and Close.
	mu     sync.RWMutex
	closed bool
}

// place is a position in the log with what a snapshot has to know of it.
type place struct {
	index, term uint64
	config      raftpb.ConfigRecord // the newest membership at or below index
}

// NewManager returns a manager whose state machine, one in memory, reflects the log up to and including applied.
func NewManager(machine StateMachine, applied uint64) *Manager {
	m := &Manager{machine: machine, kind: KindOf(machine), version: stateVersion(machine)}
	m.survey()
	m.reset(place{index: applied})
	return m
}

// survey notes what the state machine can do, for those on other goroutines.
func (m *Manager) survey() {
	_, hears := m.machine.(LeaderListener)
	m.hearsOfLeaders.Store(hears)
	m.sessions = m.newSessions()
	m.noSessions.Store(m.sessions.absent)
}

// newSessions returns an empty table for the state machine.
func (m *Manager) newSessions() sessionTable {
	_, keeping := m.machine.(SessionKeeper)
	return sessionTable{keeping: keeping, absent: m.kind == KindOnDisk && !keeping}
}

// KeepsSessions reports whether entries with client sessions are accepted: all kinds do but an OnDisk that is no SessionKeeper.
// It is safe for concurrent use.
func (m *Manager) KeepsSessions() bool { return !m.noSessions.Load() }

// reset makes the state machine's state that of a place in the log.
func (m *Manager) reset(at place) {
	m.placeMu.Lock()
	m.at, m.kept = at, at
	m.audit = audit{}
	m.placeMu.Unlock()
	m.applied.Store(at.index)
}

// Kind returns what the state machine is.
func (m *Manager) Kind() Kind { return m.kind }

// Applied returns the index of the last entry whose effect Lookups see.
func (m *Manager) Applied() uint64 { return m.applied.Load() }

// AppliedAt returns Applied with that entry's term and the newest membership at or below it. Both are those of StartAt, or zero, until
// something was applied or recovered. The membership is shared and must not be changed.
func (m *Manager) AppliedAt() (index, term uint64, config raftpb.ConfigRecord) {
	m.placeMu.Lock()
	defer m.placeMu.Unlock()
	return m.at.index, m.at.term, m.at.config
}

// StartAt says which entry the first Apply follows, with its term and the newest membership at or below it, as they are stored in the log. For a machine
// in memory that is what NewManager or Recover said, or the beginning of the log. An on-disk machine may be started anywhere at or below the
// index that it came up with: what it has is not shown to it again, and Applied counts up from index. ErrStateBehind: it came up with less, so
// that it lacks entries.
func (m *Manager) StartAt(index, term uint64, config raftpb.ConfigRecord) error {
	if m.kind == KindOnDisk && index > m.opened {
		return fmt.Errorf("%w: it has applied up to index %d, the log begins behind index %d", ErrStateBehind, m.opened, index)
	}
	m.reset(place{index: index, term: term, config: config})
	return nil
}

// Failure returns how the state machine failed, or nil.
func (m *Manager) Failure() *Failure { return m.failure.Load() }

// Apply hands the entries of a turn to the state machine and moves the applied index over all that was added to the turn. Results are in the
// turn when it returns nil. The error is a *Failure; it is returned again by every later call.
func (m *Manager) Apply(turn *Turn) error {
	if failure := m.failure.Load(); failure != nil {
		return failure
	}
	if applied := m.applied.Load(); turn.first != applied+1 {
		invariant.Fail("apply of [%d, %d] does not follow the applied index %d", turn.first, turn.last, applied)
	}
	if m.exclusive.Load() != 0 {
		invariant.Fail("apply of [%d, %d] while the state machine is saved", turn.first, turn.last)
	}
	if len(turn.toShow()) > 0 || m.sessions.changed() {
		if failure := m.update(turn); failure != nil {
			return failure
		}
	}
	if turn.sessions {
		turn.results()
	}
	m.advance(turn)
	if turn.membership != nil {
		if failure := m.tellMembership(turn.last, *turn.membership); failure != nil {
			return failure
		}
	}
	if turn.audit.kind != 0 {
		return m.auditTurn(turn)
	}
	return nil
}

// advance moves the places. The applied index goes last: whoever sees it sees what belongs to it.
func (m *Manager) advance(turn *Turn) {
	m.placeMu.Lock()
	if turn.shownIndex > m.kept.index {
		m.kept.index, m.kept.term = turn.shownIndex, turn.shownTerm
		if m.kept.config.Index != m.at.config.Index { // a membership ends its turn, so none is in between
			m.kept.config = m.at.config
		}
	}
	m.at.index, m.at.term = turn.last, turn.term
	if turn.membership != nil {
		m.at.config = raftpb.ConfigRecord{Index: turn.last, Membership: *turn.membership}
	}
	if turn.delta.taken {
		m.kept = m.at
	}
	m.placeMu.Unlock()
	m.applied.Store(turn.last)
}

// update publishes a failure before it lets go of the lock: a Lookup that waits for it must not see what it leaves.
func (m *Manager) update(turn *Turn) *Failure {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trying(func() error {
		if keeper, ok := m.machine.(SessionKeeper); ok {
			return m.updateKeeper(keeper, turn)
		}
		return m.machine.Update(turn.toShow())
	})
}

// updateKeeper lets a state machine write the sessions beside its data.
func (m *Manager) updateKeeper(keeper SessionKeeper, turn *Turn) error {
	turn.delta = SessionDelta{Index: turn.last, table: &m.sessions, turn: turn, writes: turn.delta.writes}
	if err := keeper.UpdateWithSessions(turn.toShow(), &turn.delta); err != nil {
		return err
	}
	if !turn.delta.taken {
		return ErrSessionsUnwritten
	}
	m.sessions.settle()
	return nil
}

// trying calls the state machine. An error, or a panic, is its failure.
func (m *Manager) trying(call func() error) (failure *Failure) {
	defer func() {
		if value := recover(); value != nil {
			failure = &Failure{Index: m.applied.Load(), Cause: fmt.Errorf("%w: %v", ErrMachinePanicked, value), Stack: debug.Stack()}
		}
		if failure != nil {
			m.failure.CompareAndSwap(nil, failure)
			failure = m.failure.Load()
		}
	}()
	if err := call(); err != nil {
		return &Failure{Index: m.applied.Load(), Cause: err}
	}
	return nil
}

// Quarantine ends the service of the state machine for a cause outside of it, such as a committed batch that cannot be
// decoded. The first failure stays.
func (m *Manager) Quarantine(cause error) *Failure {
	m.failure.CompareAndSwap(nil, &Failure{Index: m.applied.Load(), Cause: cause})
	return m.failure.Load()
}

// Lookup asks the state machine. A panic in a Lookup is returned as an error to this caller alone: reading does not
// change the state, so it says nothing about it.
func (m *Manager) Lookup(query any) (value any, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if failure := m.failure.Load(); failure != nil {
		return nil, failure
	}
	if m.closed {
		return nil, ErrClosed
	}
	defer func() {
		if caught := recover(); caught != nil {
			value, err = nil, fmt.Errorf("%w: %v", ErrLookupPanicked, caught)
		}
	}()
	return m.machine.Lookup(query)
}

// Renew closes the state machine and puts another one in its place, for an empty log; an on-disk one is opened, and what it has is
// not shown to it again. Lookups wait meanwhile and see the one or the other. If the factory, or Open, fails, the state machine is
// closed for good and the error is theirs; an error of the former machine's Close is of no consequence, for nothing of it is needed any more.
func (m *Manager) Renew(ctx context.Context, factory func() (StateMachine, error)) error {
	m.alone("renewed")
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.closeLocked()
	machine, err := factory()
	if err != nil {
		return err
	}
	m.machine, m.kind, m.version, m.closed = machine, KindOf(machine), stateVersion(machine), false
	m.failure.Store(nil)
	if err := m.open(ctx); err != nil {
		_ = m.closeLocked()
		return err
	}
	m.reset(place{})
	return nil
}

// alone asserts that nothing of the state machine is in use elsewhere.
func (m *Manager) alone(what string) {
	if images, syncs := m.images.Load(), m.syncing.Load(); images != 0 || syncs != 0 {
		invariant.Fail("state machine is %s with %d images and %d syncs under way", what, images, syncs)
	}
}

// Close closes the state machine once; later Lookups return ErrClosed. A panic in the state machine's Close is returned.
func (m *Manager) Close() (err error) {
	m.alone("closed")
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closeLocked()
}

func (m *Manager) closeLocked() (err error) {
	if m.closed {
		return nil
	}
	m.closed = true
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("rsm: state machine panicked while closing: %v", caught)
		}
	}()
	return m.machine.Close()
}
