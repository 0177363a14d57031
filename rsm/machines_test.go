package rsm

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// ledger is the state of the test machines: every command, in order. An answer is how many there are, and the command.
type ledger struct {
	Commands []string
	Applied  uint64            `json:",omitempty"` // kept by those on disk
	Sessions map[string]string `json:",omitempty"`
}

func (l *ledger) update(entries []Entry) error {
	for i := range entries {
		if string(entries[i].Command) == "fail" {
			return errors.New("asked to fail")
		}
		l.Commands = append(l.Commands, string(entries[i].Command))
		entries[i].Result = Result{Value: uint64(len(l.Commands)), Data: entries[i].Command}
	}
	return nil
}

func (l *ledger) clone() *ledger {
	return &ledger{slices.Clone(l.Commands), l.Applied, maps.Clone(l.Sessions)}
}

// save writes the state as JSON and every tenth command as a file of its own.
func (l *ledger) save(to SnapshotWriter) error {
	if err := json.NewEncoder(to).Encode(l); err != nil {
		return err
	}
	for i := 9; i < len(l.Commands); i += 10 {
		file, err := to.File(fmt.Sprint("command ", i))
		if err == nil {
			_, err = file.Write([]byte(l.Commands[i]))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) recover(from SnapshotReader) error {
	state, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	var read ledger
	if err := json.Unmarshal(state, &read); err != nil {
		return err
	}
	for i := 9; ; i += 10 {
		name, content, err := from.NextFile()
		if errors.Is(err, io.EOF) {
			*l = read
			return nil
		}
		if err != nil {
			return err
		}
		command, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		if name != fmt.Sprint("command ", i) || string(command) != read.Commands[i] {
			return fmt.Errorf("file %q has %q", name, command)
		}
	}
}

// listener writes down what it is told, and where among the commands.
type listener struct{ told []string }

func (l *listener) note(format string, arguments ...any) {
	l.told = append(l.told, fmt.Sprintf(format, arguments...))
}

func (l *listener) LeaderStarted(term uint64)            { l.note("started %d", term) }
func (l *listener) LeaderStopped(term uint64)            { l.note("stopped %d", term) }
func (l *listener) SnapshotInstalled(index, term uint64) { l.note("installed %d/%d", index, term) }

// memoryMachine is a Snapshotter with a hook for the wrong things that a Recover may do.
type memoryMachine struct {
	ledger
	listener
	version   uint64
	onSave    func(SnapshotWriter) error
	onRecover func(SnapshotReader) error
}

func (m *memoryMachine) Update(entries []Entry) error { return m.update(entries) }
func (m *memoryMachine) Lookup(any) (any, error)      { return len(m.Commands), nil }
func (m *memoryMachine) Close() error                 { return nil }
func (m *memoryMachine) StateVersion() uint64         { return m.version }

func (m *memoryMachine) Save(_ context.Context, to SnapshotWriter) error {
	if m.onSave != nil {
		return m.onSave(to)
	}
	return m.save(to)
}

func (m *memoryMachine) Recover(_ context.Context, from SnapshotReader) error {
	if m.onRecover != nil {
		return m.onRecover(from)
	}
	return m.recover(from)
}

// concurrentMachine is a Concurrent.
type concurrentMachine struct {
	ledger
	listener
	views int
}

func (m *concurrentMachine) Update(entries []Entry) error { return m.update(entries) }
func (m *concurrentMachine) Lookup(any) (any, error)      { return len(m.Commands), nil }
func (m *concurrentMachine) Close() error                 { return nil }
func (m *concurrentMachine) Prepare() (View, error) {
	m.views++
	return &ledgerView{m.clone(), &m.views}, nil
}
func (m *concurrentMachine) Recover(_ context.Context, from SnapshotReader) error {
	return m.recover(from)
}

type ledgerView struct {
	*ledger
	open *int
}

func (v *ledgerView) Save(_ context.Context, to SnapshotWriter) error { return v.save(to) }
func (v *ledgerView) Close() error                                    { *v.open--; return nil }

// disk is where an on-disk machine keeps its data: every state since the last sync, of which a crash keeps any one.
type disk struct {
	states []*ledger // [0] is durable
	broken error     // of a sync
}

func newDisk() *disk { return &disk{states: []*ledger{{}}} }

func (d *disk) newest() *ledger { return d.states[len(d.states)-1] }

func (d *disk) sync() error {
	if d.broken != nil {
		return d.broken
	}
	d.states = d.states[len(d.states)-1:]
	return nil
}

// crash keeps the state that is n behind the newest, or the durable one.
func (d *disk) crash(n int) { d.states = d.states[:max(1, len(d.states)-n)] }

// diskMachine is an OnDisk without sessions.
type diskMachine struct {
	listener
	disk  *disk
	views int
}

func (m *diskMachine) Open(context.Context) (uint64, error) { return m.disk.newest().Applied, nil }
func (m *diskMachine) Sync() error                          { return m.disk.sync() }
func (m *diskMachine) Lookup(any) (any, error)              { return len(m.disk.newest().Commands), nil }
func (m *diskMachine) Close() error                         { return nil }

func (m *diskMachine) Update(entries []Entry) error {
	next := m.disk.newest().clone()
	if err := next.update(entries); err != nil {
		return err
	}
	next.Applied = entries[len(entries)-1].Index
	m.disk.states = append(m.disk.states, next)
	return nil
}

func (m *diskMachine) Prepare() (View, error) {
	m.views++
	view := m.disk.newest().clone()
	view.Sessions = nil // they go their own way
	return &ledgerView{view, &m.views}, nil
}

func (m *diskMachine) Recover(_ context.Context, from SnapshotReader) error {
	next := &ledger{}
	if err := next.recover(from); err != nil {
		return err
	}
	m.disk.states = append(m.disk.states, next)
	return nil
}

// keeperMachine keeps sessions, too. forgetful leaves out the call of Writes.
type keeperMachine struct {
	diskMachine
	forgetful bool
}

func (m *keeperMachine) UpdateWithSessions(entries []Entry, delta *SessionDelta) error {
	next := m.disk.newest().clone()
	if err := next.update(entries); err != nil {
		return err
	}
	if m.forgetful {
		return nil
	}
	if next.Sessions == nil {
		next.Sessions = map[string]string{}
	}
	for _, write := range delta.Writes() {
		if write.Delete {
			if _, there := next.Sessions[string(write.Key)]; !there {
				return fmt.Errorf("key %x is removed and not there", write.Key)
			}
			delete(next.Sessions, string(write.Key))
			continue
		}
		next.Sessions[string(write.Key)] = string(write.Value)
	}
	next.Applied = delta.Index
	m.disk.states = append(m.disk.states, next)
	return nil
}

func (m *keeperMachine) LoadSessions(yield func(key, value []byte) error) error {
	kept := m.disk.newest().Sessions
	// The order of keys does not matter; a descending one is not the order of use.
	keys := slices.Sorted(maps.Keys(kept))
	slices.Reverse(keys)
	var key, value []byte
	for _, k := range keys {
		key, value = append(key[:0], k...), append(value[:0], kept[k]...)
		if err := yield(key, value); err != nil {
			return err
		}
	}
	return nil
}

var (
	_ Snapshotter   = (*memoryMachine)(nil)
	_ Concurrent    = (*concurrentMachine)(nil)
	_ OnDisk        = (*diskMachine)(nil)
	_ SessionKeeper = (*keeperMachine)(nil)
)

// commandsOf returns a test machine's commands.
func commandsOf(machine StateMachine) []string {
	switch m := machine.(type) {
	case *memoryMachine:
		return m.Commands
	case *concurrentMachine:
		return m.Commands
	case *diskMachine:
		return m.disk.newest().Commands
	case *keeperMachine:
		return m.disk.newest().Commands
	}
	return nil
}

// keyName writes the keys of sessions for people.
func keyName(key []byte) string {
	if len(key) == 8 {
		return fmt.Sprint(binary.BigEndian.Uint64(key))
	}
	return fmt.Sprint(binary.BigEndian.Uint64(key), "/", binary.BigEndian.Uint64(key[8:]))
}
