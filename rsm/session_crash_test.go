package rsm

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// fileMachine is a SessionKeeper that appends each Update, with the delta, to a file, as one record: what is torn at the end is no record. split is the
// broken double: it writes data and sessions one after the other.
type fileMachine struct {
	fs    vfs.FS
	file  vfs.File
	split bool
	point func() // called round every operation on the file
	state ledger
}

// record is what one write adds.
type record struct {
	Index    uint64
	Commands []string       `json:",omitempty"`
	Writes   []SessionWrite `json:",omitempty"`
}

func (m *fileMachine) Open(context.Context) (uint64, error) {
	file, err := m.fs.OpenReadWrite("data", vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, err
	}
	m.file = file
	m.state = ledger{Sessions: map[string]string{}}
	data, err := io.ReadAll(file)
	if err != nil {
		return 0, err
	}
	for len(data) >= 8 {
		length, sum := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
		data = data[8:]
		if length == 0 || uint64(length) > uint64(len(data)) || crc32.ChecksumIEEE(data[:length]) != sum {
			break // torn; a real machine cuts it off, this one is only looked at
		}
		var r record
		if err := json.Unmarshal(data[:length], &r); err != nil {
			return 0, err
		}
		m.redo(&r)
		data = data[length:]
	}
	return m.state.Applied, nil
}

func (m *fileMachine) redo(r *record) {
	m.state.Commands = append(m.state.Commands, r.Commands...)
	for _, write := range r.Writes {
		if write.Delete {
			delete(m.state.Sessions, string(write.Key))
		} else {
			m.state.Sessions[string(write.Key)] = string(write.Value)
		}
	}
	m.state.Applied = max(m.state.Applied, r.Index)
}

func (m *fileMachine) write(r *record) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	head = binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE(body))
	m.point()
	_, err = m.file.Write(append(head, body...))
	m.point()
	return err
}

func (m *fileMachine) Update(entries []Entry) error { return errors.New("called on a SessionKeeper") }

func (m *fileMachine) UpdateWithSessions(entries []Entry, delta *SessionDelta) error {
	r := &record{Index: delta.Index}
	for i := range entries {
		r.Commands = append(r.Commands, string(entries[i].Command))
		entries[i].Result = Result{Value: uint64(len(m.state.Commands) + i + 1), Data: entries[i].Command}
	}
	sessions := &record{Index: delta.Index, Writes: delta.Writes()}
	if !m.split {
		r.Writes = sessions.Writes
		m.redo(r)
		return m.write(r)
	}
	m.redo(r)
	m.redo(sessions)
	return errors.Join(m.write(r), m.write(sessions))
}

func (m *fileMachine) LoadSessions(yield func(key, value []byte) error) error {
	return (&keeperMachine{diskMachine: diskMachine{disk: &disk{states: []*ledger{&m.state}}}}).LoadSessions(yield)
}

func (m *fileMachine) Sync() error {
	m.point()
	err := m.file.Sync()
	m.point()
	return err
}

func (m *fileMachine) Lookup(any) (any, error) { return nil, nil }
func (m *fileMachine) Close() error            { return m.file.Close() }
func (m *fileMachine) Prepare() (View, error)  { return nil, errors.New("no views") }
func (m *fileMachine) Recover(context.Context, SnapshotReader) error {
	return errors.New("no snapshots")
}

// A crash comes before and after every write and sync of a state machine on disk, and keeps all, a part or nothing of what was not synced. Then the log is
// replayed, and every client proposes every call once more: none is applied twice, none is lost, and all get the first answers.
func TestACrashBetweenDataAndSessions(t *testing.T) {
	points := crashEverywhere(t, false, func(point string, err error) { t.Errorf("%s: %v", point, err) })
	if points < 100 {
		t.Errorf("%d points were looked at", points)
	}
}

// The test above would notice: it finds the machine that writes data first and sessions after.
func TestACrashBetweenDataAndSessionsIsNoticed(t *testing.T) {
	found := 0
	crashEverywhere(t, true, func(string, error) { found++ })
	if found == 0 {
		t.Error("a machine whose sessions are not written with its data passes")
	}
}

// crashLog is a log with everything that sessions do.
func crashLog() (log []call) {
	log = append(log, register(1, 3), register(2, 3))
	for n := uint64(1); n <= 12; n++ {
		log = append(log, call{1, n, max(n, 3) - 3, "one"}, call{0, 0, 0, "plain"}, call{2, n, 0, "two"})
		if n%4 == 0 {
			log = append(log, call{1, n - 1, 0, "one"}, register(100+n, 3), call{100 + n, 1, 0, "three"})
		}
	}
	for i := range log {
		if log[i].series != SeriesOpen && log[i].command != "plain" {
			log[i].command = string(sessionKey(log[i].client)) + string(sessionKey(log[i].series))
		}
	}
	return log
}

func crashEverywhere(t *testing.T, split bool, failed func(point string, err error)) (points int) {
	disk := vfs.NewCrashableMem()
	if file, err := disk.Create("data", vfs.WriteCategoryUnspecified); err != nil {
		t.Fatal(err)
	} else if err := errors.Join(file.Close(), syncDirectory(disk)); err != nil {
		t.Fatal(err)
	}
	log := crashLog()
	random := rand.New(rand.NewPCG(1, 1))
	machine := &fileMachine{fs: disk, split: split}
	machine.point = func() {
		for _, percent := range []int{0, 50, 100} {
			points++
			copied := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: random})
			if err := afterCrash(&fileMachine{fs: copied, split: split, point: func() {}}, log); err != nil {
				failed(fmt.Sprintf("point %d, %d %% of what was not synced", points, percent), err)
			}
		}
	}
	m := open(t, machine)
	for first, turns := 1, 0; first <= len(log); turns++ {
		size := min(1+turns%5, len(log)-first+1)
		turn := turnOf(t, m, batchOfCalls(1, uint64(first), log[first-1:first-1+size], true))
		if err := m.Apply(turn); err != nil {
			t.Fatal(err)
		}
		if turns%3 == 2 {
			if err := m.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		first += size
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return points
}

func syncDirectory(fs vfs.FS) error {
	directory, err := fs.OpenDir("/")
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// afterCrash brings a machine up, replays the log, proposes all calls again and compares with a naive model.
func afterCrash(machine *fileMachine, log []call) error {
	m, err := OpenManager(context.Background(), machine)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.StartAt(m.Opened(), 1, raftpb.ConfigRecord{}); err != nil {
		return err
	}
	model := naive{sessions: map[uint64]*naiveSession{}}
	whole := slices.Clone(log)
	for _, c := range log {
		if c.series != SeriesOpen && c.client != 0 {
			c.responded = 0 // the client has not got on
			whole = append(whole, c)
		}
	}
	turn := new(Turn)
	for i, c := range whole {
		want := model.apply(c)
		if uint64(i) < m.Applied() {
			continue
		}
		turn.Reset()
		if err := m.Add(turn, batchOfCalls(1, uint64(i+1), []call{c}, true)); err != nil {
			return err
		}
		if err := m.Apply(turn); err != nil {
			return err
		}
		if got := answersOf(turn)[0]; !sameAnswer(got, want) {
			return errors.Join(errors.New("another answer"), got.err, want.err)
		}
	}
	if !slices.Equal(machine.state.Commands, model.commands) {
		return errors.New("other commands were applied")
	}
	return nil
}
