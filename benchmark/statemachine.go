package benchmark

import (
	"context"
	"fmt"

	"github.com/flotilla-raft/flotilla/rsm"
)

// StateMachine returns the machine behind the project's own state machine contract. Each entry's result is its log index. Lookup
// takes a *Query, fills it in and returns it, so that a read allocates nothing.
func (m *Machine) StateMachine() rsm.StateMachine { return machineAdapter{m} }

type machineAdapter struct{ machine *Machine }

// Update implements rsm.StateMachine.
func (a machineAdapter) Update(entries []rsm.Entry) error {
	a.machine.Begin()
	defer a.machine.End()
	for i := range entries {
		a.machine.Apply(entries[i].Index, entries[i].Command)
		entries[i].Result.Value = entries[i].Index
	}
	return nil
}

// Lookup implements rsm.StateMachine.
func (a machineAdapter) Lookup(query any) (any, error) {
	q, ok := query.(*Query)
	if !ok {
		return nil, fmt.Errorf("benchmark: query of type %T", query)
	}
	return q, a.machine.Lookup(q)
}

// Close implements rsm.StateMachine. The machine stays readable, since the end check comes later.
func (a machineAdapter) Close() error { return nil }

// SnapshotStateMachine is StateMachine as one that can be saved, so that the log behind a snapshot can be compacted.
func (m *Machine) SnapshotStateMachine() rsm.Snapshotter { return savedMachine{machineAdapter{m}} }

type savedMachine struct{ machineAdapter }

// Save implements rsm.Snapshotter.
func (s savedMachine) Save(_ context.Context, to rsm.SnapshotWriter) error { return s.machine.Save(to) }

// Recover implements rsm.Snapshotter.
func (s savedMachine) Recover(_ context.Context, from rsm.SnapshotReader) error {
	return s.machine.Recover(from)
}
