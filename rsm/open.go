package rsm

import (
	"context"
	"fmt"
)

// OpenManager returns a manager of a state machine that was just made, at the beginning of the log; one on disk is opened, with
// the client sessions that it keeps, and is where it says that it is. Where the log goes on is told by StartAt. After an error, which is that of the
// machine or what it panicked with, the machine is the caller's to close.
func OpenManager(ctx context.Context, machine StateMachine) (*Manager, error) {
	m := NewManager(machine, 0)
	if err := m.open(ctx); err != nil {
		return nil, err
	}
	m.reset(place{index: m.opened})
	return m, nil
}

func (m *Manager) open(ctx context.Context) error {
	m.opened = 0
	machine, ok := m.machine.(OnDisk)
	if !ok {
		return nil
	}
	err := guarded(func() (err error) {
		m.opened, err = machine.Open(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("open state machine: %w", err)
	}
	m.synced.Store(m.opened)
	return nil
}

// Opened returns the index that an on-disk state machine came up with, or recovered to; 0 for those in memory. Entries up to it are
// not shown to it.
func (m *Manager) Opened() uint64 { return m.opened }

// guarded makes a panic of the state machine an error of this call. It is for calls that leave the state as it is.
func guarded(call func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("%w: %v", ErrMachinePanicked, value)
		}
	}()
	return call()
}

// Sync makes an on-disk state machine durable; for others it does nothing. It may run beside Apply. An error, or a panic, is the
// machine's failure: what a sync that failed has left is not known, nor by a later one that succeeds.
func (m *Manager) Sync() error {
	machine, ok := m.machine.(OnDisk)
	if !ok {
		return nil
	}
	if failure := m.failure.Load(); failure != nil {
		return failure
	}
	m.syncing.Add(1)
	defer m.syncing.Add(-1)
	m.placeMu.Lock()
	index := m.kept.index
	m.placeMu.Unlock()
	if failure := m.trying(machine.Sync); failure != nil {
		return failure
	}
	m.synced.Store(index)
	return nil
}

// SyncedIndex returns the index at or above which an on-disk machine comes up after a crash: what the log need not keep for it. It may be
// below Applied after a Sync too, for entries that are not shown to the machine are not counted by it. It is 0 for other kinds.
func (m *Manager) SyncedIndex() uint64 { return m.synced.Load() }
