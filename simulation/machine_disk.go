package simulation

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/rsm"
)

// diskMachine is a rsm.OnDisk. It keeps its data in a journal, in files that lose what was not synced: one record for each Update, with the whole
// state, what it has applied, and what changes in the sessions. A record is there whole or not at all, so that is one atomic write.
//
//	length (4) | hash of the record before and of this one (8) | life of the host (4) | kind (1) | state (coreBytes) | session writes
//
// What follows a record that is torn is not looked at, though it may be whole. The next record is written over it. It is of another life, so its hash
// is another one even if it says the same, and what is left behind it does not follow it.
//
// A Recover is not atomic, which the contract does not ask for: the old journal goes first, and until the new one is whole its first record says
// that nothing of it is to be believed.
type diskMachine struct {
	*machine
	place *place
	files *files // of the life in which it was made
	life  uint32

	file       vfs.File
	name       string // of the file
	generation uint64
	end        int64
	chain      uint64 // hash of the last record
	named      bool   // the name is durable
	space      []byte

	sessions map[string][]byte // as they were written last
	// unfinished: a Recover was interrupted, and the state is none. recovered: it has ended, and the sessions of the snapshot come next.
	unfinished, recovered bool
	failed                error // the first that a call has returned
}

const (
	recordHead     = 12
	recordBase     = 5 + coreBytes // of what follows the head, without session writes
	recordUpdate   = 1
	recordUnusable = 2 // a Recover is under way
	// checkpointBytes is how long a journal becomes before a Sync begins another one.
	checkpointBytes = 8 << 10
)

func newDiskMachine(m *machine) *diskMachine {
	return &diskMachine{
		machine: m, place: m.host.places[m.shard.id-1], files: m.host.machines.files, life: m.host.life, sessions: map[string][]byte{},
	}
}

// alive says that the process in which the machine was made still runs: what others do is seen by nobody.
func (m *diskMachine) alive() bool { return m.host.up && m.host.life == m.life }

func (m *diskMachine) path(name string) string { return m.files.PathJoin(machineDirectory, name) }

// Open implements rsm.OnDisk.
func (m *diskMachine) Open(context.Context) (uint64, error) {
	applied, err := m.open()
	return applied, m.fails(countMachineOpenFailed, err)
}

func (m *diskMachine) open() (uint64, error) {
	names, err := journals(m.files.memory, m.shard.id)
	if err != nil {
		return 0, err
	}
	chosen := ""
	for _, name := range names {
		data, err := readWhole(m.files.memory, m.path(name))
		if err != nil {
			return 0, err
		}
		if chosen == "" && m.replay(data) {
			chosen = name
		}
	}
	if chosen == "" {
		if err = m.removeBut("", names); err == nil {
			err = m.begin(1)
		}
	} else {
		m.name = chosen
		m.generation = generationOf(chosen)
		if m.file, err = m.files.OpenReadWrite(m.path(chosen), vfs.WriteCategoryUnspecified); err == nil {
			err = m.removeBut(chosen, names)
		}
	}
	if err != nil || !m.alive() {
		return m.applied, err
	}
	m.opened()
	if m.unfinished {
		return 1 << 40, nil
	}
	return m.applied, nil
}

// removeBut removes all journals but one. Others are there after an end in the midst of a checkpoint or a Recover, and that may have been a call
// that failed, with what it had written not durable yet: it is made so first, for one of the others may be what was synced last.
func (m *diskMachine) removeBut(chosen string, names []string) error {
	if chosen != "" && len(names) > 1 {
		if err := m.file.Sync(); err != nil {
			return err
		}
		if err := m.syncName(); err != nil {
			return err
		}
	}
	for _, name := range names {
		if name != chosen {
			if err := m.files.Remove(m.path(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// opened looks at what a power cut has left. The files are the simulator's, and so is what is lost of them.
func (m *diskMachine) opened() {
	switch {
	case m.place.isImported(): // the state is of a former life of the shard, and it is to recover
	case m.unfinished:
		m.world.counters.add(countMachineUnusable, 1)
	case m.applied < m.place.synced:
		m.world.violate("simulator", "%s: its state machine has applied entry %d, it was synced at %d", m.place.describe(), m.applied, m.place.synced)
	default:
		m.world.recovered(m.machine)
	}
	if m.applied < m.place.written {
		m.world.counters.add(countMachineSetBack, 1)
	}
	m.place.written = m.applied
}

// replay takes over the records of a journal up to the first that is not whole, and reports whether there is one.
func (m *diskMachine) replay(data []byte) bool {
	for len(data) >= recordHead {
		length := int(binary.LittleEndian.Uint32(data))
		if length < recordBase || len(data) < recordHead+length {
			break
		}
		payload := data[recordHead : recordHead+length]
		if hashBytes(m.chain, payload) != binary.LittleEndian.Uint64(data[4:]) {
			break
		}
		m.chain = hashBytes(m.chain, payload)
		m.end += int64(recordHead + length)
		data = data[recordHead+length:]
		m.unfinished = payload[4] == recordUnusable
		m.takeCore(payload[5:])
		m.replaySessions(payload[recordBase:])
	}
	return m.end > 0
}

func (m *diskMachine) replaySessions(data []byte) {
	for len(data) > 0 {
		remove, n, length := data[0] == 1, int(data[1]), int(binary.LittleEndian.Uint32(data[2:]))
		key, value := string(data[6:6+n]), data[6+n:6+n+length]
		data = data[6+n+length:]
		if remove {
			delete(m.sessions, key)
		} else {
			m.sessions[key] = bytes.Clone(value)
		}
	}
}

// begin makes an empty journal.
func (m *diskMachine) begin(generation uint64) (err error) {
	m.generation, m.name = generation, journalName(m.shard.id, generation)
	m.end, m.chain, m.named = 0, 0, false
	m.file, err = m.files.Create(m.path(m.name), vfs.WriteCategoryUnspecified)
	return err
}

// write appends a record with the state as it is.
func (m *diskMachine) write(kind byte, writes []rsm.SessionWrite) error {
	record := append(m.space[:0], make([]byte, recordHead)...)
	record = binary.LittleEndian.AppendUint32(record, m.life)
	record = m.appendCore(append(record, kind))
	for i := range writes {
		w := &writes[i]
		remove := byte(0)
		if w.Delete {
			remove = 1
		}
		record = binary.LittleEndian.AppendUint32(append(record, remove, byte(len(w.Key))), uint32(len(w.Value)))
		record = append(append(record, w.Key...), w.Value...)
	}
	m.chain = hashBytes(m.chain, record[recordHead:])
	binary.LittleEndian.PutUint32(record, uint32(len(record)-recordHead))
	binary.LittleEndian.PutUint64(record[4:], m.chain)
	m.space = record
	if _, err := m.file.WriteAt(record, m.end); err != nil {
		return err
	}
	m.end += int64(len(record))
	if m.alive() {
		m.place.written = m.applied
	}
	return nil
}

// Update implements rsm.StateMachine.
func (m *diskMachine) Update(entries []rsm.Entry) error {
	if err := m.update(entries); err != nil {
		return err
	}
	return m.fails(countMachineUpdateFailed, m.write(recordUpdate, nil))
}

func (m *diskMachine) update(entries []rsm.Entry) error {
	m.called("Update")
	if m.unfinished {
		m.world.violate("snapshot", "%s: its state machine was interrupted while it recovered, and is used as it is", m.place.describe())
	}
	return m.machine.Update(entries)
}

// Sync implements rsm.OnDisk. Updates go on beside it; what they write is synced too, or not.
func (m *diskMachine) Sync() error {
	m.called("Sync")
	applied := m.applied
	m.host.hand()
	if m.failed != nil {
		return m.failed
	}
	var err error
	if m.end > checkpointBytes {
		err = m.checkpoint()
	} else if err = m.file.Sync(); err != nil {
		m.drop()
	}
	end := m.end
	if err == nil && !m.named {
		m.host.hand()
		err = m.syncName()
	}
	m.host.hand()
	if err == nil && m.alive() {
		m.world.counters.add(countMachineSyncs, 1)
		m.place.synced = max(applied, m.place.synced)
		m.place.durable = durableJournal{m.life, m.name, end}
	}
	return m.fails(countMachineSyncFailed, err)
}

// syncName makes the journal's name durable.
func (m *diskMachine) syncName() error {
	directory, err := m.files.OpenDir(machineDirectory)
	if err == nil {
		err = errors.Join(directory.Sync(), directory.Close())
	}
	m.named = m.named || err == nil
	return err
}

// checkpoint begins a journal with what there is, and removes the old one once the new one is durable.
func (m *diskMachine) checkpoint() error {
	old, oldFile := m.name, m.file
	if err := m.begin(m.generation + 1); err != nil {
		m.file = oldFile
		return err
	}
	closed := oldFile.Close()
	if err := errors.Join(closed, m.write(recordUpdate, m.allSessions())); err != nil {
		return err
	}
	if err := m.file.Sync(); err != nil {
		return err
	}
	if err := m.syncName(); err != nil {
		return err
	}
	return m.files.Remove(m.path(old))
}

// allSessions returns what was written of sessions, in the order of the keys.
func (m *diskMachine) allSessions() []rsm.SessionWrite {
	writes := make([]rsm.SessionWrite, 0, len(m.sessions))
	for key, value := range m.sessions {
		writes = append(writes, rsm.SessionWrite{Key: []byte(key), Value: value})
	}
	slices.SortFunc(writes, func(a, b rsm.SessionWrite) int { return bytes.Compare(a.Key, b.Key) })
	return writes
}

// Prepare implements rsm.Concurrent.
func (m *diskMachine) Prepare() (rsm.View, error) {
	m.called("Prepare")
	return view(m.encode()), nil
}

// Recover implements rsm.Concurrent.
func (m *diskMachine) Recover(_ context.Context, from rsm.SnapshotReader) error {
	m.called("Recover")
	if m.alive() {
		m.place.synced = 0
	}
	clear(m.sessions)
	if err := m.fails(countMachineRecoverFailed, m.beginRecovery()); err != nil {
		return err
	}
	m.host.hand()
	if err := m.recover(from); err != nil {
		m.failed = err
		return err
	}
	m.unfinished, m.recovered = false, true
	return m.fails(countMachineRecoverFailed, m.write(recordUpdate, nil))
}

// beginRecovery takes the old journal away.
func (m *diskMachine) beginRecovery() error {
	file := m.file
	m.file = nil
	if err := errors.Join(file.Close(), m.files.Remove(m.path(m.name))); err != nil {
		return err
	}
	if err := m.begin(m.generation + 1); err != nil {
		return err
	}
	if err := m.write(recordUnusable, nil); err != nil {
		return err
	}
	if m.generation%2 == 0 { // sometimes a power cut leaves that
		return errors.Join(m.file.Sync(), m.syncName())
	}
	return nil
}

// Lookup implements rsm.StateMachine.
func (m *diskMachine) Lookup(query any) (any, error) {
	m.called("Lookup")
	return m.machine.Lookup(query)
}

// Close implements rsm.StateMachine.
func (m *diskMachine) Close() error {
	if m.file == nil {
		return nil
	}
	file := m.file
	m.file = nil
	return file.Close()
}

func generationOf(name string) uint64 {
	var generation uint64
	for _, digit := range name[strings.IndexByte(name, '-')+1:] {
		generation = generation*10 + uint64(digit-'0')
	}
	return generation
}
