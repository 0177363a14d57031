package rsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// register is the entry that registers a client.
func register(client uint64, capacity int) call {
	return call{client: client, series: SeriesOpen, command: string(RegisterCommand(capacity))}
}

// applyCalls applies calls in one turn and returns it.
func applyCalls(t testing.TB, m *Manager, calls ...call) *Turn {
	t.Helper()
	turn := turnOf(t, m, batchOfCalls(1, m.Applied()+1, calls, true))
	if err := m.Apply(turn); err != nil {
		t.Fatal(err)
	}
	return turn
}

func TestACallThatRepeatsWithinOneTurnRunsOnce(t *testing.T) {
	machine := &memoryMachine{}
	m := open(t, machine)
	turn := applyCalls(t, m, register(7, 10), call{7, 1, 0, "x"}, call{0, 0, 0, "plain"}, call{7, 1, 0, "x"}, call{7, 2, 0, "y"}, call{7, 1, 0, "x"})
	if !slices.Equal(machine.Commands, []string{"x", "plain", "y"}) {
		t.Fatalf("applied %q", machine.Commands)
	}
	var values []uint64
	for i, entry := range turn.Entries() {
		if turn.Errs()[i] != nil {
			t.Errorf("entry %d: %v", i, turn.Errs()[i])
		}
		values = append(values, entry.Result.Value)
	}
	if !slices.Equal(values, []uint64{0, 1, 2, 1, 3, 1}) {
		t.Fatalf("answers %v", values)
	}
}

// A batch without sessions may stand before, between and behind those with.
func TestPlainBatchesShareATurnWithSessions(t *testing.T) {
	machine := &memoryMachine{}
	m := open(t, machine)
	turn := turnOf(t, m, batchOf(1, "a", "b"), batchOfCalls(1, 3, []call{register(1, 1), {1, 1, 0, "c"}, {2, 1, 0, "nobody's"}}, true), batchOf(6, "d"))
	if err := m.Apply(turn); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(machine.Commands, []string{"a", "b", "c", "d"}) || len(turn.Entries()) != 6 || !errors.Is(turn.Errs()[4], ErrSessionExpired) {
		t.Fatalf("applied %q, %v", machine.Commands, turn.Errs())
	}
	for i, want := range []uint64{1, 2, 0, 3, 0, 4} {
		if got := turn.Entries()[i].Result.Value; got != want {
			t.Errorf("answer %d is %d, want %d", i, got, want)
		}
	}
	turn.Reset()
	if err := m.Add(turn, batchOf(7, "e")); err != nil || turn.Errs() != nil {
		t.Errorf("a turn that was used again: %v, %v", err, turn.Errs())
	}
}

func TestMalformedRegistrations(t *testing.T) {
	m := open(t, &memoryMachine{})
	bad := []call{
		{client: 1, command: ""}, {client: 1, command: "\x00"}, {client: 1, command: "\x80"}, {client: 1, command: "\x01\x01"},
		{client: 1, command: string(RegisterCommand(MaxSessions + 1))}, {client: MaxClientID + 1, command: "\x01"},
	}
	for i, err := range applyCalls(t, m, bad...).Errs() {
		if !errors.Is(err, ErrBadSession) {
			t.Errorf("registration %d: %v", i, err)
		}
	}
	if m.sessions.len() != 0 {
		t.Error("sessions were made")
	}
}

func TestAMachineThatKeepsNoSessionsRefusesThem(t *testing.T) {
	machine := &diskMachine{disk: newDisk()}
	m := open(t, machine)
	turn := applyCalls(t, m, register(1, 1), call{0, 0, 0, "plain"}, call{1, 1, 0, "x"})
	if errs := turn.Errs(); !errors.Is(errs[0], ErrNoSessions) || errs[1] != nil || !errors.Is(errs[2], ErrNoSessions) {
		t.Fatalf("got %v", errs)
	}
	if got := machine.disk.newest(); !slices.Equal(got.Commands, []string{"plain"}) || got.Applied != 2 {
		t.Fatalf("it has %+v", got)
	}
	source := open(t, makers["on disk"](newDisk()))
	applyCalls(t, source, register(1, 1))
	if err := recoverFrom(m, snapshotOf(t, source)); !errors.Is(err, ErrNoSessions) {
		t.Fatalf("recovered from sessions that it cannot keep: %v", err)
	}
}

// What a SessionKeeper writes, turn by turn.
func TestDeltas(t *testing.T) {
	var writes []string
	machine := &writesMachine{keeperMachine{diskMachine: diskMachine{disk: newDisk()}}, &writes}
	m := open(t, machine)
	for _, step := range []struct {
		name  string
		calls []call
		want  string
	}{
		{"registration alone", []call{register(7, 2)}, "put 7"},
		{"calls", []call{{7, 1, 0, "a"}, {7, 2, 0, "b"}}, "put 7, put 7/1, put 7/2"},
		{"a repetition is a use", []call{{7, 1, 0, "a"}}, "put 7"},
		{"a plain command changes nothing", []call{{0, 0, 0, "p"}}, ""},
		{"an acknowledgement", []call{{7, 3, 1, "c"}}, "delete 7/1, put 7, put 7/3"},
		{"acknowledged in the same turn", []call{{7, 4, 1, "d"}, {7, 5, 4, "e"}}, "delete 7/2, delete 7/3, put 7, put 7/5"},
		{"evicted", []call{register(8, 2), register(9, 2)}, "delete 7, delete 7/5, put 8, put 9"},
		{"made and closed in the same turn", []call{register(10, 3), {10, 1, 0, "f"}, {10, SeriesClose, 0, ""}}, ""},
		{"closed", []call{{8, SeriesClose, 0, ""}}, "delete 8"},
		{"expired", []call{{8, 1, 0, "g"}}, ""},
	} {
		writes = nil
		applyCalls(t, m, step.calls...)
		if got := strings.Join(writes, ", "); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
}

// writesMachine notes what it is to write.
type writesMachine struct {
	keeperMachine
	writes *[]string
}

func (m *writesMachine) UpdateWithSessions(entries []Entry, delta *SessionDelta) error {
	if err := m.keeperMachine.UpdateWithSessions(entries, delta); err != nil {
		return err
	}
	for _, write := range delta.Writes() {
		verb := "put "
		if write.Delete {
			verb = "delete "
		}
		*m.writes = append(*m.writes, verb+keyName(write.Key))
	}
	return nil
}

func TestAKeeperThatForgetsItsSessionsIsQuarantined(t *testing.T) {
	m := open(t, &keeperMachine{diskMachine{disk: newDisk()}, true})
	if err := m.Apply(turnOf(t, m, batchOf(1, "x"))); !errors.Is(err, ErrSessionsUnwritten) || !errors.Is(err, ErrQuarantined) {
		t.Fatalf("got %v", err)
	}
	source := open(t, makers["on disk"](newDisk()))
	applyTo(t, source, "x")
	m = open(t, &keeperMachine{diskMachine{disk: newDisk()}, true})
	if err := recoverFrom(m, snapshotOf(t, source)); !errors.Is(err, ErrSessionsUnwritten) {
		t.Fatalf("got %v", err)
	}
}

func TestDamagedRecordsOfSessions(t *testing.T) {
	session := func(numbers ...uint64) []byte {
		record := []byte{recordVersion}
		for _, number := range numbers {
			record = binary.AppendUvarint(record, number)
		}
		return record
	}
	for name, records := range map[string]map[string][]byte{
		"no key":                        {"": nil},
		"no version":                    {string(sessionKey(1)): nil},
		"a later version":               {string(sessionKey(1)): {2, 1, 1}},
		"no acknowledged call":          {string(sessionKey(1)): session(5)},
		"too long":                      {string(sessionKey(1)): session(5, 1, 1)},
		"client 0":                      {string(sessionKey(0)): session(5, 1)},
		"two of one use":                {string(sessionKey(1)): session(5, 1), string(sessionKey(2)): session(5, 1)},
		"a result without value":        {string(sessionKey(1)): session(5, 1), string(resultKey(1, 2)): nil},
		"a result of nobody":            {string(resultKey(1, 2)): {1}},
		"an acknowledged result":        {string(sessionKey(1)): session(5, 2), string(resultKey(1, 2)): {1}},
		"a result beyond all that were": {string(sessionKey(1)): session(5, 2), string(resultKey(1, 3+MaxSessionWindow)): {1}},
	} {
		d := newDisk()
		d.newest().Sessions = map[string]string{}
		for key, value := range records {
			d.newest().Sessions[key] = string(value)
		}
		if _, err := OpenManager(t.Context(), makers["on disk"](d)); !errors.Is(err, ErrSessionsDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A crash in the middle of Recover may leave old sessions beside new ones. They were read before the recovery was repeated, found damaged, and
// the replica could not be started any more.
func TestWhatAnInterruptedRecoverLeavesOfSessionsIsNotLookedAt(t *testing.T) {
	source := open(t, makers["on disk"](newDisk()))
	applyCalls(t, source, register(7, 2), call{7, 1, 0, "a"})
	d := newDisk()
	d.newest().Sessions = map[string]string{string(sessionKey(7)): "\x01\x05\x02", string(resultKey(7, 2)): "\x01"}
	if _, err := OpenManager(t.Context(), makers["on disk"](d)); !errors.Is(err, ErrSessionsDamaged) {
		t.Fatalf("got %v", err)
	}
	m, err := OpenManagerToRecover(t.Context(), makers["on disk"](d))
	if err != nil {
		t.Fatal(err)
	}
	if err := recoverFrom(m, snapshotOf(t, source)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sectionOf(t, &m.sessions), sectionOf(t, &source.sessions)) {
		t.Error("the sessions are not those of the snapshot")
	}
	again, err := OpenManager(t.Context(), makers["on disk"](d))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sectionOf(t, &again.sessions), sectionOf(t, &source.sessions)) {
		t.Error("the sessions that are kept are not those of the snapshot")
	}
}

// What a snapshot brings is acknowledged later like any other result. A result without bytes was not removed from the state machine's records then, which
// were damaged for the next start.
func TestResultsOfASnapshotAreRemovedWhenAcknowledged(t *testing.T) {
	source := open(t, makers["on disk"](newDisk()))
	applyCalls(t, source, register(7, 2), call{7, 1, 0, "a"}, call{7, 2, 0, "b"})
	source.sessions.newest.data = nil
	d := newDisk()
	m := open(t, makers["on disk"](d))
	if err := recoverFrom(m, snapshotOf(t, source)); err != nil {
		t.Fatal(err)
	}
	applyCalls(t, m, call{7, 3, 2, "c"})
	again, err := OpenManager(t.Context(), makers["on disk"](d))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sectionOf(t, &again.sessions), sectionOf(t, &m.sessions)) {
		t.Error("the sessions that are kept are not those of the table")
	}
}

func sectionOf(t testing.TB, table *sessionTable) []byte {
	var section bytes.Buffer
	if err := table.encode(&section); err != nil {
		t.Fatal(err)
	}
	return section.Bytes()
}

func someSessions(t testing.TB) []byte {
	m := open(t, &memoryMachine{})
	applyCalls(t, m, register(3, 10), register(4, 10), call{4, 1, 0, "a"}, call{4, 3, 1, "b"}, call{3, 4000, 17, "long ago"}, register(MaxClientID, 10))
	return sectionOf(t, &m.sessions)
}

func TestDamagedSections(t *testing.T) {
	good := someSessions(t)
	for name, section := range map[string][]byte{
		"empty":           {},
		"a later version": append([]byte{2}, good[1:]...),
		"more sessions":   append(slices.Clone(good), 0),
		"a huge count":    binary.AppendUvarint([]byte{1}, MaxSessions+1),
		"a huge number":   append([]byte{1, 1}, bytes.Repeat([]byte{0xff}, 11)...),
		"a huge result":   binary.AppendUvarint([]byte{1, 1, 1, 1, 0, 1, 1, 1}, 1<<63),
		"client 0":        {1, 1, 0, 1, 0, 0},
		"a client twice":  {1, 2, 1, 1, 0, 0, 1, 2, 0, 0},
		"out of order":    {1, 2, 1, 2, 0, 0, 2, 2, 0, 0},
		"a call twice":    {1, 1, 1, 1, 0, 2, 1, 0, 0, 1, 0, 0},
		"call 0":          {1, 1, 1, 1, 0, 1, 0, 0, 0},
	} {
		if err := new(sessionTable).decode(bytes.NewReader(section)); !errors.Is(err, ErrSessionsDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range good {
		if err := new(sessionTable).decode(bytes.NewReader(good[:n])); !errors.Is(err, ErrSessionsDamaged) {
			t.Errorf("cut off at %d: %v", n, err)
		}
	}
}

// What is decoded is encoded again to what is decoded to the same.
func FuzzSessionsSection(f *testing.F) {
	f.Add(someSessions(f))
	f.Add(sectionOf(f, new(sessionTable)))
	f.Add([]byte{1, 1, 1, 1, 0, 1, 1, 9, 2, 'o', 'k'})
	f.Fuzz(func(t *testing.T, section []byte) {
		var table, again sessionTable
		if err := table.decode(bytes.NewReader(section)); err != nil {
			if !errors.Is(err, ErrSessionsDamaged) {
				t.Fatal(err)
			}
			return
		}
		first := sectionOf(t, &table)
		if err := again.decode(bytes.NewReader(first)); err != nil {
			t.Fatalf("not decoded again: %v", err)
		}
		if second := sectionOf(t, &again); !bytes.Equal(first, second) {
			t.Fatalf("%x is encoded again as %x", first, second)
		}
	})
}

// Whatever a state machine has kept is loaded or refused.
func FuzzStoredSessions(f *testing.F) {
	f.Add(sessionKey(1), []byte{recordVersion, 5, 1}, resultKey(1, 2), []byte{9, 'o', 'k'})
	f.Add(sessionKey(1), []byte{recordVersion, 5, 1}, sessionKey(2), []byte{recordVersion, 6, 1})
	f.Add([]byte("short"), []byte{}, resultKey(1, 2), []byte{0x80})
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 []byte) {
		d := newDisk()
		d.newest().Sessions = map[string]string{string(key1): string(value1), string(key2): string(value2)}
		m, err := OpenManager(t.Context(), makers["on disk"](d))
		if err != nil {
			if !errors.Is(err, ErrSessionsDamaged) {
				t.Fatal(err)
			}
			return
		}
		if err := new(sessionTable).decode(bytes.NewReader(sectionOf(t, &m.sessions))); err != nil {
			t.Fatalf("what was loaded cannot be saved: %v", err)
		}
	})
}

// A session's calls allocate nothing once the turn and the session have grown, but for the map when sessions come and go.
func TestAllocationsOfSessions(t *testing.T) {
	if invariant.Enabled {
		t.Skip("allocation budgets run without the invariants tag")
	}
	m := open(t, &script{})
	applyCalls(t, m, register(1, 10), register(2, 10))
	var batches []raftpb.Batch
	for i := range uint64(300) {
		series, acknowledged := 4*i+1, max(4*i, 20)-20
		batches = append(batches, batchOfCalls(1, 1, []call{
			{1, series, acknowledged, "a"}, {1, series + 1, acknowledged, "b"}, {2, series + 2, acknowledged, "c"}, {1, series + 3, acknowledged, "d"},
		}, true))
	}
	turn := new(Turn)
	next := 0
	one := func() {
		turn.Reset()
		m.applied.Store(0)
		if err := m.Add(turn, batches[next]); err != nil {
			t.Fatal(err)
		}
		if err := m.Apply(turn); err != nil {
			t.Fatal(err)
		}
		next++
	}
	for range 100 {
		one()
	}
	if n := testing.AllocsPerRun(100, one); n > 0 {
		t.Errorf("%v allocations per batch, want none", n)
	}
}

func BenchmarkApplySessions(b *testing.B) {
	m := open(b, &script{})
	applyCalls(b, m, register(0xabcdef01234567, 10))
	var batches []raftpb.Batch
	for i := range uint64(64) {
		var calls []call
		for j := range uint64(200) {
			series := i*200 + j + 1
			calls = append(calls, call{0xabcdef01234567, series, max(series, 200) - 200, "sixteen bytes ok"})
		}
		batches = append(batches, batchOfCalls(1, 1, calls, true))
	}
	turn := new(Turn)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(batches) == 0 {
			m.sessions.newest.responded, m.sessions.newest.slots = 0, nil
		}
		turn.Reset()
		m.applied.Store(0)
		_ = m.Add(turn, batches[i%len(batches)])
		_ = m.Apply(turn)
	}
}
