package rsm

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// script is a state machine that does what a test says.
type script struct {
	update func([]Entry) error
	lookup func(any) (any, error)
	close  func() error
}

func (s *script) Update(entries []Entry) error {
	if s.update == nil {
		return nil
	}
	return s.update(entries)
}

func (s *script) Lookup(query any) (any, error) {
	if s.lookup == nil {
		return query, nil
	}
	return s.lookup(query)
}

func (s *script) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

func batchOf(first uint64, commands ...string) raftpb.Batch {
	var builder raftpb.Builder
	builder.Reset(nil)
	for _, command := range commands {
		builder.Add([]byte(command))
	}
	batch := builder.Seal(1, raftpb.KindCommands, raftpb.Origin{Replica: 1, Session: 1, Sequence: 1}, 0)
	batch.Stamp(1, first)
	return batch
}

// turnOf adds batches to a turn of their own.
func turnOf(t testing.TB, m *Manager, batches ...raftpb.Batch) *Turn {
	t.Helper()
	turn := new(Turn)
	for _, batch := range batches {
		if err := m.Add(turn, batch); err != nil {
			t.Fatal(err)
		}
	}
	return turn
}

func TestApplyHandsSubSlicesAndPublishesTheIndex(t *testing.T) {
	batch := batchOf(5, "one", "", "three")
	m := NewManager(&script{update: func(entries []Entry) error {
		for i := range entries {
			if cap(entries[i].Command) != len(entries[i].Command) {
				t.Errorf("command %d has room behind it", i)
			}
			entries[i].Result = Result{Value: entries[i].Index}
		}
		return nil
	}}, 4)
	turn := turnOf(t, m, batch)
	entries := turn.Entries()
	if len(entries) != 3 {
		t.Fatalf("%d entries", len(entries))
	}
	if len(entries[0].Command) == 0 || !bytes.Contains(batch, entries[0].Command) || &entries[0].Command[0] != &batch[bytes.Index(batch, []byte("one"))] {
		t.Error("the command is a copy, not a part of the batch")
	}
	if err := m.Apply(turn); err != nil {
		t.Fatal(err)
	}
	if m.Applied() != 7 || entries[2].Result.Value != 7 {
		t.Errorf("applied %d, result %d", m.Applied(), entries[2].Result.Value)
	}
}

func TestCompressedBatchesAreAppliedPlain(t *testing.T) {
	var builder raftpb.Builder
	builder.Reset(nil)
	command := bytes.Repeat([]byte("again and "), 1000)
	builder.Add(command)
	batch := builder.Seal(1, raftpb.KindCommands, raftpb.Origin{Replica: 1, Session: 1, Sequence: 1}, 0).Compress(16)
	if batch.Flags()&raftpb.FlagCompressed == 0 {
		t.Fatal("not compressed")
	}
	batch.Stamp(1, 1)
	m := NewManager(&script{}, 0)
	if entries := turnOf(t, m, batch).Entries(); len(entries) != 1 || !bytes.Equal(entries[0].Command, command) {
		t.Fatalf("%d entries", len(entries))
	}
}

func TestTheEnginesOwnEntriesAreNotShown(t *testing.T) {
	m := NewManager(&script{update: func([]Entry) error { t.Error("called"); return nil }}, 0)
	noOp := raftpb.NewNoOp(1)
	noOp.Stamp(1, 1)
	turn := turnOf(t, m, noOp)
	if entries := turn.Entries(); len(entries) != 0 {
		t.Fatalf("%d entries", len(entries))
	}
	if err := m.Apply(turn); err != nil || m.Applied() != 1 {
		t.Fatalf("applied %d, %v", m.Applied(), err)
	}
}

func TestAFailedStateMachineIsQuarantined(t *testing.T) {
	cause := errors.New("out of ink")
	for name, update := range map[string]func([]Entry) error{
		"error": func([]Entry) error { return cause },
		"panic": func([]Entry) error { panic("out of ink") },
	} {
		t.Run(name, func(t *testing.T) {
			m := NewManager(&script{update: update}, 0)
			err := m.Apply(turnOf(t, m, batchOf(1, "a", "b")))
			if !errors.Is(err, ErrQuarantined) || !strings.Contains(err.Error(), "out of ink") {
				t.Fatalf("got %v", err)
			}
			if name == "error" && !errors.Is(err, cause) {
				t.Error("the cause is lost")
			}
			if name == "panic" && len(m.Failure().Stack) == 0 {
				t.Error("the stack is lost")
			}
			if m.Applied() != 0 {
				t.Errorf("applied is %d, nothing of a failed update counts", m.Applied())
			}
			if again := m.Apply(turnOf(t, m, batchOf(3, "c"))); !errors.Is(again, ErrQuarantined) {
				t.Errorf("a later apply says %v", again)
			}
			if _, err := m.Lookup(1); !errors.Is(err, ErrQuarantined) {
				t.Errorf("a later lookup says %v", err)
			}
		})
	}
}

func TestQuarantineFromOutsideKeepsTheFirstCause(t *testing.T) {
	m := NewManager(&script{}, 0)
	first, second := errors.New("first"), errors.New("second")
	m.Quarantine(first)
	if failure := m.Quarantine(second); !errors.Is(failure, first) || errors.Is(failure, second) {
		t.Errorf("got %v", failure)
	}
}

func TestAPanickingLookupHurtsOnlyItsCaller(t *testing.T) {
	m := NewManager(&script{lookup: func(query any) (any, error) {
		if query == "bad" {
			panic("no such thing")
		}
		return query, nil
	}}, 0)
	if _, err := m.Lookup("bad"); !errors.Is(err, ErrLookupPanicked) {
		t.Errorf("got %v", err)
	}
	if value, err := m.Lookup("good"); err != nil || value != "good" {
		t.Errorf("got %v, %v", value, err)
	}
}

func TestAGapInTheApplyIsOurOwnFault(t *testing.T) {
	defer func() {
		if _, ok := recover().(invariant.Violation); !ok {
			t.Error("no violation")
		}
	}()
	m := NewManager(&script{}, 3)
	_ = m.Apply(turnOf(t, m, batchOf(5, "x")))
}

func TestCloseIsOnceAndCatchesPanics(t *testing.T) {
	calls := 0
	m := NewManager(&script{close: func() error { calls++; panic("no") }}, 0)
	if err := m.Close(); err == nil {
		t.Error("the panic was lost")
	}
	if err := m.Close(); err != nil || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if _, err := m.Lookup(1); !errors.Is(err, ErrClosed) {
		t.Errorf("lookup after close says %v", err)
	}
}

func TestAllocationsOfApply(t *testing.T) {
	if invariant.Enabled {
		t.Skip("allocation budgets run without the invariants tag")
	}
	m := NewManager(&script{}, 0)
	batch := batchOf(1, "a", "b", "c", "d")
	turn := new(Turn)
	if n := testing.AllocsPerRun(100, func() {
		turn.Reset()
		m.applied.Store(0)
		_ = m.Add(turn, batch)
		_ = m.Apply(turn)
	}); n > 0 {
		t.Errorf("%v allocations per batch, want none", n)
	}
}

func BenchmarkApply(b *testing.B) {
	m := NewManager(&script{}, 0)
	commands := make([]string, 200)
	for i := range commands {
		commands[i] = "sixteen bytes ok"
	}
	batch := batchOf(1, commands...)
	turn := new(Turn)
	b.ReportAllocs()
	for b.Loop() {
		turn.Reset()
		m.applied.Store(0)
		_ = m.Add(turn, batch)
		_ = m.Apply(turn)
	}
}

// A Lookup that waits for the very Update that fails is refused: nobody sees the state that it leaves (R24).
func TestALookupThatWaitsForAFailingUpdateIsRefused(t *testing.T) {
	for range 50 {
		var attempts atomic.Int32
		var broken atomic.Bool
		const readers = 4
		m := NewManager(&script{
			update: func([]Entry) error {
				for attempts.Load() < readers {
					runtime.Gosched()
				}
				for range 100 { // lets them come up to the lock
					runtime.Gosched()
				}
				broken.Store(true)
				return errors.New("half of it is done")
			},
			lookup: func(any) (any, error) {
				if broken.Load() {
					t.Error("a lookup sees the state of a failed update")
				}
				return nil, nil
			},
		}, 4)
		batch := batchOf(5, "x")
		turn := turnOf(t, m, batch)
		var group sync.WaitGroup
		updating := make(chan struct{})
		inner := m.machine.(*script).update
		m.machine.(*script).update = func(entries []Entry) error { close(updating); return inner(entries) }
		for range readers {
			group.Go(func() {
				<-updating
				attempts.Add(1)
				if _, err := m.Lookup(nil); !errors.Is(err, ErrQuarantined) {
					t.Errorf("got %v", err)
				}
			})
		}
		if err := m.Apply(turn); !errors.Is(err, ErrQuarantined) {
			t.Fatalf("got %v", err)
		}
		group.Wait()
	}
}
