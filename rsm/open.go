package rsm

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// OpenManager returns a manager of a state machine that was just made, at the beginning of the log; one on disk is opened, with
// the client sessions that it keeps, and is where it says that it is. Where the log goes on is told by StartAt. After an error, which is that of the
// machine or what it panicked with, the machine is the caller's to close.
func OpenManager(ctx context.Context, machine StateMachine) (*Manager, error) {
	return openManager(ctx, machine, (*Manager).open)
}

// OpenManagerToRecover is OpenManager for a state machine that Recover comes next for, come what may. What sessions it keeps is not looked at:
// a Recover that a crash has interrupted may have left some of them, or old and new ones side by side.
func OpenManagerToRecover(ctx context.Context, machine StateMachine) (*Manager, error) {
	return openManager(ctx, machine, (*Manager).openMachine)
}

func openManager(ctx context.Context, machine StateMachine, open func(*Manager, context.Context) error) (*Manager, error) {
	m := NewManager(machine, 0)
	if err := open(m, ctx); err != nil {
		return nil, err
	}
	m.reset(place{index: m.opened})
	return m, nil
}

func (m *Manager) open(ctx context.Context) error {
	if err := m.openMachine(ctx); err != nil {
		return err
	}
	keeper, ok := m.machine.(SessionKeeper)
	if !ok {
		return nil
	}
	if err := m.sessions.load(keeper); err != nil {
		return fmt.Errorf("load sessions: %w", err)
	}
	return nil
}

func (m *Manager) openMachine(ctx context.Context) error {
	m.opened = 0
	m.survey()
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
	// What it has come up with may stand in the page cache alone, of a process that was killed: only a Sync says that it is durable.
	m.synced.Store(0)
	return nil
}

// load fills an empty table with what a state machine has kept.
func (t *sessionTable) load(keeper SessionKeeper) error {
	var stored storedSessions
	if err := guarded(func() error { return keeper.LoadSessions(stored.add) }); err != nil {
		return err
	}
	slices.SortFunc(stored.sessions, func(a, b *session) int { return cmp.Compare(a.lastUse, b.lastUse) })
	for _, s := range stored.sessions {
		if err := t.insert(s); err != nil {
			return err
		}
	}
	for i := range stored.results {
		result := &stored.results[i]
		s := t.byClient[result.client]
		if s == nil {
			return fmt.Errorf("%w: call %d of client %d, which has no session", ErrSessionsDamaged, result.series, result.client)
		}
		if err := s.keep(result.series, result.result, true); err != nil {
			return err
		}
	}
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
	m.synced.Store(max(index, m.synced.Load()))
	return nil
}

// SyncedIndex returns the index at or above which an on-disk machine comes up after a crash: what the log need not keep for it. It may be
// below Applied after a Sync too, for entries that are not shown to the machine are not counted by it. It is 0 before the first Sync and for other
// kinds.
func (m *Manager) SyncedIndex() uint64 { return m.synced.Load() }
