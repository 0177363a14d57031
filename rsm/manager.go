package rsm

import (
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

// Manager applies committed batches to one state machine. Apply and Close are called by one goroutine at a time; Lookup and
// Applied are safe for concurrent use.
type Manager struct {
	machine StateMachine
	applied atomic.Uint64
	failure atomic.Pointer[Failure]

	// mu lets Lookups run together and keeps them out of Update and Close.
	mu     sync.RWMutex
	closed bool
}

// NewManager returns a manager whose state machine reflects the log up to and including applied.
func NewManager(machine StateMachine, applied uint64) *Manager {
	m := &Manager{machine: machine}
	m.applied.Store(applied)
	return m
}

// Applied returns the index of the last entry whose effect Lookups see.
func (m *Manager) Applied() uint64 { return m.applied.Load() }

// Failure returns how the state machine failed, or nil.
func (m *Manager) Failure() *Failure { return m.failure.Load() }

// Entries appends the commands of a batch to into, for Apply, and returns it. Entries of the engine's own append nothing.
// The only errors are those of a damaged body.
func (m *Manager) Entries(batch raftpb.Batch, into []Entry) ([]Entry, error) {
	if batch.Kind() != raftpb.KindCommands {
		return into, nil
	}
	if batch.Flags()&raftpb.FlagCompressed != 0 {
		plain, err := batch.Plain(nil)
		if err != nil {
			return into, err
		}
		batch = plain
	}
	index := batch.First()
	iterator := batch.Iterator()
	for iterator.Next() {
		into = append(into, Entry{Index: index, Command: iterator.Command()})
		index++
	}
	return into, iterator.Err()
}

// Apply hands entries to the state machine and moves the applied index from before to last, which covers them and the
// engine's own entries among them. Results are in the entries when it returns nil. The error is a *Failure; it is
// returned again by every later call.
func (m *Manager) Apply(entries []Entry, before, last uint64) error {
	if failure := m.failure.Load(); failure != nil {
		return failure
	}
	if applied := m.applied.Load(); before != applied {
		invariant.Fail("apply of (%d, %d] does not follow the applied index %d", before, last, applied)
	}
	if len(entries) > 0 {
		if failure := m.update(entries); failure != nil {
			return failure
		}
	}
	m.applied.Store(last)
	return nil
}

// update publishes a failure before it lets go of the lock: a Lookup that waits for it must not see what it leaves.
func (m *Manager) update(entries []Entry) (failure *Failure) {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() {
		if value := recover(); value != nil {
			failure = &Failure{Index: m.applied.Load(), Cause: fmt.Errorf("panic: %v", value), Stack: debug.Stack()}
		}
		if failure != nil {
			m.failure.Store(failure)
		}
	}()
	if err := m.machine.Update(entries); err != nil {
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

// Renew closes the state machine and puts another one in its place, which reflects an empty log. Lookups wait meanwhile and see the one
// or the other. It is called as Close is, when everything that was handed over is applied. If the factory fails, the
// state machine is closed for good and the error is the factory's; an error of the former machine's Close is of no consequence,
// for nothing of it is needed any more.
func (m *Manager) Renew(factory func() (StateMachine, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.closeLocked()
	machine, err := factory()
	if err != nil {
		return err
	}
	m.machine, m.closed = machine, false
	m.applied.Store(0)
	m.failure.Store(nil)
	return nil
}

// Close closes the state machine once; later Lookups return ErrClosed. A panic in the state machine's Close is returned.
func (m *Manager) Close() (err error) {
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
