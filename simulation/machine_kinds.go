package simulation

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/flotilla-raft/flotilla/rsm"
)

// machineKind is how a shard's state machines are saved; all replicas of a shard are of one kind.
type machineKind uint8

const (
	machineReplayed machineKind = iota // not at all
	machineMemory
	machineConcurrent
	machineOnDisk
	machineOnDiskBare // without sessions
)

func (k machineKind) onDisk() bool { return k >= machineOnDisk }

// ofKind makes a machine one that can be saved as its shard's can.
func (m *machine) ofKind(kind machineKind) rsm.StateMachine {
	switch kind {
	case machineMemory:
		return &memoryMachine{m}
	case machineConcurrent:
		return &concurrentMachine{m}
	case machineOnDisk:
		return &keeperMachine{newDiskMachine(m)}
	case machineOnDiskBare:
		return newDiskMachine(m)
	}
	return m
}

// memoryMachine is a rsm.Snapshotter.
type memoryMachine struct{ *machine }

// Save implements rsm.Snapshotter.
func (m *memoryMachine) Save(_ context.Context, to rsm.SnapshotWriter) error {
	return saveState(m.encode(), to)
}

// Recover implements rsm.Snapshotter.
func (m *memoryMachine) Recover(_ context.Context, from rsm.SnapshotReader) error {
	return m.recover(from)
}

// concurrentMachine is a rsm.Concurrent.
type concurrentMachine struct{ *machine }

// Prepare implements rsm.Concurrent.
func (m *concurrentMachine) Prepare() (rsm.View, error) { return view(m.encode()), nil }

// Recover implements rsm.Concurrent.
func (m *concurrentMachine) Recover(_ context.Context, from rsm.SnapshotReader) error {
	return m.recover(from)
}

// view is an encoded state.
type view []byte

// Save implements rsm.View.
func (v view) Save(_ context.Context, to rsm.SnapshotWriter) error { return saveState(v, to) }

// Close implements rsm.View.
func (v view) Close() error { return nil }

// statePieces is in how many pieces a state is written: a snapshot takes some turns.
const statePieces = 8

// saveState writes a state in pieces, and the same again as a file beside it.
func saveState(state []byte, to rsm.SnapshotWriter) error {
	err := writePieces(to, state)
	if err != nil {
		return err
	}
	file, err := to.File("again")
	if err != nil {
		return err
	}
	return writePieces(file, state)
}

func writePieces(to io.Writer, data []byte) error {
	piece := len(data)/statePieces + 1
	for len(data) > 0 {
		n := min(len(data), piece)
		if _, err := to.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

var errState = errors.New("simulation: a snapshot does not hold what was saved")

// encode returns the whole state.
func (m *machine) encode() []byte {
	state := m.appendCore(nil)
	for r := (random{state: m.state}); len(state) < m.stateBytes(); {
		state = binary.LittleEndian.AppendUint64(state, r.next())
	}
	return state
}

// coreBytes is the length of a state without padding.
const coreBytes = 24 + 16*keyCount

func (m *machine) stateBytes() int { return coreBytes + m.world.plan.snapshots.padding&^7 }

// appendCore appends the state without its padding, which follows from the rest.
func (m *machine) appendCore(to []byte) []byte {
	to = binary.LittleEndian.AppendUint64(to, m.index)
	to = binary.LittleEndian.AppendUint64(to, m.applied)
	to = binary.LittleEndian.AppendUint64(to, m.state)
	for _, r := range m.values {
		to = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(to, r.version), r.operation)
	}
	return to
}

// takeCore takes over what appendCore wrote.
func (m *machine) takeCore(state []byte) {
	m.index, m.applied, m.state = binary.LittleEndian.Uint64(state), binary.LittleEndian.Uint64(state[8:]), binary.LittleEndian.Uint64(state[16:])
	for i := range m.values {
		m.values[i] = register{binary.LittleEndian.Uint64(state[24+16*i:]), binary.LittleEndian.Uint64(state[32+16*i:])}
	}
}

// recover takes over a state. It is one that the shard was in, with everything that was applied up to some entry.
func (m *machine) recover(from rsm.SnapshotReader) error {
	state, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	name, content, err := from.NextFile()
	if err != nil {
		return err
	}
	again, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	if name != "again" || !bytes.Equal(state, again) || len(state) != m.stateBytes() {
		return errState
	}
	if _, _, err := from.NextFile(); !errors.Is(err, io.EOF) {
		return errors.Join(err, errState)
	}
	m.takeCore(state)
	if !bytes.Equal(state, m.encode()) {
		return errState
	}
	m.world.recovered(m)
	return nil
}
