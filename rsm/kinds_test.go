package rsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

func open(t testing.TB, machine StateMachine) *Manager {
	t.Helper()
	m, err := OpenManager(context.Background(), machine)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// applyTo applies commands, in one turn, behind what is applied.
func applyTo(t testing.TB, m *Manager, commands ...string) {
	t.Helper()
	if err := m.Apply(turnOf(t, m, batchOf(m.Applied()+1, commands...))); err != nil {
		t.Fatal(err)
	}
}

func numbered(n int) (commands []string) {
	for i := range n {
		commands = append(commands, fmt.Sprint("command number ", i))
	}
	return commands
}

var allKinds = map[Kind]func() StateMachine{
	KindReplayed:   func() StateMachine { return &script{} },
	KindMemory:     func() StateMachine { return &memoryMachine{} },
	KindConcurrent: func() StateMachine { return &concurrentMachine{} },
	KindOnDisk:     func() StateMachine { return &diskMachine{disk: newDisk()} },
}

func TestKinds(t *testing.T) {
	snapshots := map[Kind]raftpb.SnapshotKind{KindMemory: raftpb.SnapshotMemory, KindConcurrent: raftpb.SnapshotMemory, KindOnDisk: raftpb.SnapshotDisk}
	for kind, maker := range allKinds {
		m := open(t, maker())
		if m.Kind() != kind || kind.Snapshot() != snapshots[kind] || !strings.Contains("replayed memory concurrent on disk", kind.String()) {
			t.Errorf("%s is taken for %s, its snapshots for %s", kind, m.Kind(), kind.Snapshot())
		}
		if m.KeepsSessions() != (kind != KindOnDisk) {
			t.Errorf("%s: sessions %v", kind, m.KeepsSessions())
		}
	}
	if !open(t, makers["on disk"](newDisk())).KeepsSessions() {
		t.Error("a SessionKeeper keeps no sessions")
	}
}

// A snapshot of one machine makes another one equal, files included; the kinds in memory may exchange theirs.
func TestSnapshotsRoundTrip(t *testing.T) {
	for from, makeSource := range allKinds {
		for to, makeTarget := range allKinds {
			if from == KindReplayed {
				continue
			}
			t.Run(fmt.Sprintf("%s to %s", from, to), func(t *testing.T) {
				source := open(t, makeSource())
				applyTo(t, source, numbered(25)...)
				file := snapshotOf(t, source)
				machine := makeTarget()
				target := open(t, machine)
				applyTo(t, target, "what was there before")
				err := recoverFrom(target, file)
				switch {
				case to == KindReplayed:
					if !errors.Is(err, ErrNoSnapshots) {
						t.Fatalf("got %v", err)
					}
					return
				case from.Snapshot() != to.Snapshot():
					if !errors.Is(err, ErrSnapshotKind) || target.Failure() != nil || target.Applied() != 1 {
						t.Fatalf("got %v, failure %v, applied %d", err, target.Failure(), target.Applied())
					}
					return
				case err != nil:
					t.Fatal(err)
				}
				if got := commandsOf(machine); !slices.Equal(got, numbered(25)) {
					t.Fatalf("recovered %q", got)
				}
				if index, term, _ := target.AppliedAt(); index != 25 || term != 1 || target.Applied() != 25 {
					t.Fatalf("recovered to %d/%d", index, term)
				}
				applyTo(t, target, "next")
			})
		}
	}
}

// An image is of the moment of Prepare, whatever is applied while it is saved.
func TestAnImageIsOfItsMoment(t *testing.T) {
	for _, kind := range []Kind{KindConcurrent, KindOnDisk} {
		machine := allKinds[kind]()
		m := open(t, machine)
		applyTo(t, m, numbered(5)...)
		image, err := m.Prepare(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		applyTo(t, m, "later")
		if image.Meta().Index != 5 || image.Meta().Term != 1 {
			t.Fatalf("%s: image of %+v", kind, image.Meta())
		}
		state := sections{}
		if err := image.Save(context.Background(), state); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(state["state"].String(), "later") {
			t.Fatalf("%s: the image has what came later", kind)
		}
		if err := errors.Join(image.Close(), image.Close()); err != nil {
			t.Fatal(err)
		}
		if m.images.Load() != 0 {
			t.Fatal("the image is not closed")
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// sections is a Destination in memory.
type sections map[string]*bytes.Buffer

func (s sections) open(name string) (io.Writer, error) {
	s[name] = new(bytes.Buffer)
	return s[name], nil
}
func (s sections) Sessions() (io.Writer, error)        { return s.open("sessions") }
func (s sections) State() (io.Writer, error)           { return s.open("state") }
func (s sections) File(name string) (io.Writer, error) { return s.open("file " + name) }

func TestWhatASnapshotMayNotMeet(t *testing.T) {
	violates := func(what string, call func()) {
		t.Helper()
		defer func() {
			if _, ok := recover().(invariant.Violation); !ok {
				t.Errorf("%s: no violation", what)
			}
		}()
		call()
	}
	m := open(t, &memoryMachine{})
	applyTo(t, m, "x")
	image, err := m.Prepare(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	file := snapshotOf(t, func() *Manager { m := open(t, &memoryMachine{}); applyTo(t, m, "y"); return m }())
	violates("apply while a machine in memory is saved", func() { applyTo(t, m, "y") })
	violates("recover", func() { _ = recoverFrom(m, file) })
	violates("close", func() { _ = m.Close() })
	violates("renew", func() { _ = m.Renew(context.Background(), nil) })
	if _, err := m.Lookup(nil); err != nil {
		t.Errorf("lookups do not go on: %v", err)
	}
	_ = image.Close()
	applyTo(t, m, "z")
}

func TestSnapshotsThatFailLeaveTheStateAlone(t *testing.T) {
	cause := errors.New("no ink")
	for name, save := range map[string]func(SnapshotWriter) error{
		"error": func(SnapshotWriter) error { return cause },
		"panic": func(SnapshotWriter) error { panic(cause) },
		"write after a file": func(to SnapshotWriter) error {
			if _, err := to.File("a"); err != nil {
				return err
			}
			_, err := to.Write([]byte("late"))
			return err
		},
		"a file without a name, overlooked": func(to SnapshotWriter) error {
			_, _ = to.File("")
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := open(t, &memoryMachine{onSave: save})
			applyTo(t, m, "x")
			image, err := m.Prepare(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			meta := image.Meta()
			meta.ShardID, meta.ReplicaID = 1, 1
			writer, err := snapshot.NewWriter(io.Discard, meta, snapshot.WriterOptions{})
			if err != nil {
				t.Fatal(err)
			}
			err = image.Save(context.Background(), writer)
			if err == nil || name == "error" && !errors.Is(err, cause) || name == "panic" && !errors.Is(err, ErrMachinePanicked) {
				t.Errorf("got %v", err)
			}
			_ = image.Close()
			applyTo(t, m, "y")
		})
	}
}

func TestAContextEndsASnapshot(t *testing.T) {
	cause := errors.New("cause")
	ctx, cancel := context.WithCancelCause(context.Background())
	m := open(t, &memoryMachine{onSave: func(to SnapshotWriter) error {
		cancel(cause)
		_, _ = to.Write([]byte("x")) // overlooked
		return nil
	}})
	applyTo(t, m, "x")
	image, err := m.Prepare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := image.Save(ctx, sections{}); !errors.Is(err, cause) {
		t.Errorf("save: %v", err)
	}
	_ = image.Close()
	if _, err := m.Prepare(ctx); !errors.Is(err, cause) {
		t.Errorf("prepare: %v", err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	if _, err := open(t, &script{}).Prepare(context.Background()); !errors.Is(err, ErrNoSnapshots) {
		t.Errorf("without snapshots: %v", err)
	}
	m := open(t, &memoryMachine{})
	if _, err := m.Prepare(context.Background()); !errors.Is(err, ErrNothingApplied) {
		t.Errorf("of nothing: %v", err)
	}
	m.Quarantine(errors.New("outside"))
	if _, err := m.Prepare(context.Background()); !errors.Is(err, ErrQuarantined) {
		t.Errorf("of a failed one: %v", err)
	}
	// A machine that came up ahead of the log is at an entry whose term nobody here knows yet.
	d := newDisk()
	d.newest().Applied = 5
	ahead := open(t, &diskMachine{disk: d})
	if err := ahead.StartAt(2, 1, raftpb.ConfigRecord{}); err != nil {
		t.Fatal(err)
	}
	if _, err := ahead.Prepare(context.Background()); !errors.Is(err, ErrNothingApplied) {
		t.Errorf("ahead of the log: %v", err)
	}
}

func TestRecoveriesThatFail(t *testing.T) {
	source := open(t, &memoryMachine{version: 3})
	applyTo(t, source, numbered(30)...)
	good := snapshotOf(t, source)
	damaged := bytes.Clone(good)
	damaged[len(damaged)/2] ^= 1
	all := func(from SnapshotReader) error { return (&ledger{}).recover(from) }
	for name, test := range map[string]struct {
		file    []byte
		version uint64
		recover func(SnapshotReader) error
		want    error
		text    string
	}{
		"later version":  {good, 2, all, ErrStateVersion, "version 3"},
		"damaged":        {damaged, 3, all, snapshot.ErrDamaged, "block"},
		"cut off":        {good[:len(good)-1], 3, all, snapshot.ErrTruncated, ""},
		"nothing read":   {good, 3, func(SnapshotReader) error { return nil }, ErrSnapshotUnread, "section state"},
		"files not read": {good, 3, func(from SnapshotReader) error { _, err := io.Copy(io.Discard, from); return err }, ErrSnapshotUnread, `file "command 9" was not asked for`},
		"a file not read": {good, 3, func(from SnapshotReader) error {
			_, _ = io.Copy(io.Discard, from)
			_, _, _ = from.NextFile()
			return nil
		}, ErrSnapshotUnread, `file "command 9"`},
		"a file skipped": {good, 3, func(from SnapshotReader) error {
			_, _ = io.Copy(io.Discard, from)
			_, _, _ = from.NextFile()
			_, _, err := from.NextFile()
			return err
		}, ErrSnapshotUnread, `file "command 9"`},
		"a file read too late": {good, 3, func(from SnapshotReader) error {
			_, _ = io.Copy(io.Discard, from)
			_, first, _ := from.NextFile()
			_, _ = io.Copy(io.Discard, first)
			_, _, _ = from.NextFile()
			_, err := first.Read(make([]byte, 1))
			return err
		}, snapshot.ErrUsage, "is over"},
		"too much read": {good, 3, func(from SnapshotReader) error {
			_, err := io.CopyN(io.Discard, from, 1<<20)
			return err
		}, io.EOF, ""},
		"error": {good, 3, func(SnapshotReader) error { return io.ErrNoProgress }, io.ErrNoProgress, ""},
		"panic": {good, 3, func(SnapshotReader) error { panic("no") }, ErrMachinePanicked, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			m := open(t, &memoryMachine{version: test.version, onRecover: test.recover})
			applyTo(t, m, "before")
			err := recoverFrom(m, test.file)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("got %v", err)
			}
			if name == "later version" {
				applyTo(t, m, "goes on")
				return
			}
			if !errors.Is(err, ErrQuarantined) || m.Failure() == nil || m.Applied() != 1 {
				t.Errorf("%v, failure %v, applied %d", err, m.Failure(), m.Applied())
			}
			if again := recoverFrom(m, good); !errors.Is(again, ErrQuarantined) {
				t.Errorf("recovered once more: %v", again)
			}
		})
	}
}

func TestAContextEndsARecovery(t *testing.T) {
	source := open(t, &memoryMachine{})
	applyTo(t, source, "x")
	reader, err := snapshot.NewReader(bytes.NewReader(snapshotOf(t, source)))
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("cause")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if err := open(t, &memoryMachine{}).Recover(ctx, reader); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func TestOnDiskMachinesComeBackWhereTheyWere(t *testing.T) {
	d := newDisk()
	m := open(t, &diskMachine{disk: d})
	applyTo(t, m, "a", "b")
	noOp := raftpb.NewNoOp(1)
	noOp.Stamp(1, 3)
	if err := m.Apply(turnOf(t, m, noOp)); err != nil {
		t.Fatal(err)
	}
	if err := m.Sync(); err != nil {
		t.Fatal(err)
	}
	// It can say no more than what it was shown, after a crash.
	if m.Applied() != 3 || m.SyncedIndex() != 2 {
		t.Fatalf("applied %d, synced %d", m.Applied(), m.SyncedIndex())
	}
	if image, err := m.Prepare(context.Background()); err != nil || image.Meta().Index != 2 {
		t.Fatalf("image of %+v, %v", image.Meta(), err)
	}
	again := open(t, &diskMachine{disk: d})
	if again.Opened() != 2 || again.Applied() != 2 || again.SyncedIndex() != 0 {
		t.Fatalf("opened at %d, applied %d, synced %d", again.Opened(), again.Applied(), again.SyncedIndex())
	}
	if err := again.StartAt(3, 1, raftpb.ConfigRecord{}); !errors.Is(err, ErrStateBehind) {
		t.Fatalf("started behind its data: %v", err)
	}
	if err := again.StartAt(0, 0, raftpb.ConfigRecord{}); err != nil {
		t.Fatal(err)
	}
	applyTo(t, again, "a", "b", "c") // of which it has two
	if got := d.newest().Commands; !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatalf("it has %q", got)
	}
}

func TestOpenAndSyncFail(t *testing.T) {
	for name, machine := range map[string]StateMachine{
		"open":            &badDisk{openErr: errors.New("no disk")},
		"open panics":     &badDisk{openPanics: true},
		"damaged session": &badDisk{key: []byte("short"), value: []byte("x")},
	} {
		if _, err := OpenManager(context.Background(), machine); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	d := newDisk()
	d.broken = errors.New("sync failed")
	m := open(t, &diskMachine{disk: d})
	applyTo(t, m, "x")
	if err := m.Sync(); !errors.Is(err, d.broken) || !errors.Is(err, ErrQuarantined) {
		t.Fatalf("sync: %v", err)
	}
	d.broken = nil
	if err := m.Sync(); !errors.Is(err, ErrQuarantined) || m.SyncedIndex() != 0 {
		t.Fatalf("a second sync: %v, synced %d", err, m.SyncedIndex())
	}
	if err := open(t, &memoryMachine{}).Sync(); err != nil {
		t.Errorf("sync in memory: %v", err)
	}
}

// badDisk fails to open, or loads what makes no sense.
type badDisk struct {
	keeperMachine
	openErr    error
	openPanics bool
	key, value []byte
}

func (m *badDisk) Open(context.Context) (uint64, error) {
	if m.openPanics {
		panic("no")
	}
	return 0, m.openErr
}

func (m *badDisk) LoadSessions(yield func(key, value []byte) error) error {
	return yield(m.key, m.value)
}

func TestListenersHearOfThingsInTheOrderOfTheLog(t *testing.T) {
	machine := &memoryMachine{}
	m := open(t, &membershipMachine{machine})
	membership := raftpb.Membership{Members: []raftpb.Member{{ReplicaID: 1, Kind: raftpb.Voter, Incarnation: 1, Address: "a:1"}}}
	change := raftpb.NewMembership(1, membership)
	change.Stamp(4, 3)
	turn := turnOf(t, m, batchOf(1, "a", "b"), change)
	if !turn.Full() {
		t.Fatal("a turn goes on behind a membership")
	}
	if err := m.Apply(turn); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.TellLeaderStarted(4), m.TellLeaderStopped(4)); err != nil {
		t.Fatal(err)
	}
	if index, term, config := m.AppliedAt(); index != 3 || term != 4 || config.Index != 3 || len(config.Membership.Members) != 1 {
		t.Fatalf("applied %d/%d, %+v", index, term, config)
	}
	if err := recoverFrom(m, snapshotOf(t, m)); err != nil {
		t.Fatal(err)
	}
	want := []string{"member 3 after 2", "started 4", "stopped 4", "member 3 after 2", "installed 3/4"}
	if !slices.Equal(machine.told, want) {
		t.Fatalf("told %q, want %q", machine.told, want)
	}
}

// membershipMachine hears of memberships, too.
type membershipMachine struct{ *memoryMachine }

func (m *membershipMachine) MembershipApplied(index uint64, _ raftpb.Membership) {
	m.note("member %d after %d", index, len(m.Commands))
}

func TestAListenerThatPanicsQuarantines(t *testing.T) {
	m := open(t, panicking{&memoryMachine{}})
	if err := m.TellLeaderStarted(3); !errors.Is(err, ErrMachinePanicked) || !errors.Is(err, ErrQuarantined) {
		t.Fatalf("got %v", err)
	}
	if err := m.TellLeaderStopped(3); !errors.Is(err, ErrQuarantined) {
		t.Fatalf("told again: %v", err)
	}
}

type panicking struct{ *memoryMachine }

func (panicking) LeaderStarted(uint64) { panic("no") }
func (panicking) LeaderStopped(uint64) { panic("called after its failure") }

// What an on-disk machine has is not shown to it again when it begins anew with an empty log.
func TestARenewedMachineOnDisk(t *testing.T) {
	d := newDisk()
	m := open(t, &diskMachine{disk: d})
	applyTo(t, m, "a", "b")
	if err := m.Renew(context.Background(), func() (StateMachine, error) { return &diskMachine{disk: d}, nil }); err != nil {
		t.Fatal(err)
	}
	if m.Applied() != 0 || m.Opened() != 2 {
		t.Fatalf("applied %d, opened %d", m.Applied(), m.Opened())
	}
	applyTo(t, m, "a", "b", "c")
	if got := d.newest().Commands; !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatalf("it has %q", got)
	}
	if err := m.Renew(context.Background(), func() (StateMachine, error) { return &badDisk{openPanics: true}, nil }); !errors.Is(err, ErrMachinePanicked) {
		t.Fatalf("renewed with one that does not open: %v", err)
	}
	if _, err := m.Lookup(nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("lookup says %v", err)
	}
}
