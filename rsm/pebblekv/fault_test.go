package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/kv"
)

var errDisk = errors.New("the disk failed")

// failing fails every write from the n-th on, or that one alone.
func failing(files vfs.FS, n int64, alone bool) (vfs.FS, *atomic.Int64) {
	count := new(atomic.Int64)
	return errorfs.Wrap(files, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		if at := count.Add(1); at == n || at > n && !alone {
			return errDisk
		}
		return nil
	})), count
}

const rounds = 12

func command(i int) []byte { return kv.Put(fmt.Append(nil, "key ", i%5), fmt.Append(nil, i)) }

// drive uses a machine until it fails, and returns the index that was synced last and the one that was shown last.
func drive(t *testing.T, m *Machine) (synced, shown uint64) {
	t.Helper()
	if _, err := m.Open(context.Background()); err != nil {
		return 0, 0
	}
	for i := 1; i <= rounds; i++ {
		shown = uint64(i)
		if err := m.Update([]rsm.Entry{{Index: shown, Command: command(i)}}); err != nil {
			expectFailed(t, m, err)
			return synced, shown
		}
		if i%3 != 0 {
			continue
		}
		if err := m.Sync(); err != nil {
			expectFailed(t, m, err)
			return synced, shown
		}
		synced = shown
	}
	return synced, shown
}

// A failure is told, and stays.
func expectFailed(t *testing.T, m *Machine, err error) {
	t.Helper()
	if !errors.Is(err, ErrFailed) || !errors.Is(err, errDisk) {
		t.Errorf("the failure says %v", err)
	}
	if err := m.Update([]rsm.Entry{{Index: 100, Command: command(1)}}); !errors.Is(err, ErrFailed) {
		t.Errorf("an Update after a failure: %v", err)
	}
	if err := m.Sync(); !errors.Is(err, ErrFailed) {
		t.Errorf("a Sync after a failure: %v", err)
	}
	if _, err := m.Lookup(kv.Size{}); err != nil {
		t.Errorf("a Lookup after a failure: %v", err)
	}
}

func newMachine(t *testing.T, files vfs.FS) *Machine {
	t.Helper()
	m, err := New(Options{Dir: "data", FS: files, MemtableBytes: MinMemtableBytes})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Whichever write fails: the machine says so and closes, and what was synced is there afterwards.
func TestEveryWriteFails(t *testing.T) {
	counted, count := failing(vfs.NewCrashableMem(), -1, true)
	m := newMachine(t, counted)
	if synced, _ := drive(t, m); synced != rounds {
		t.Fatalf("synced %d without failures", synced)
	}
	_ = m.Close()
	if count.Load() < 40 {
		t.Fatalf("%d writes", count.Load())
	}
	for n := int64(1); n <= count.Load(); n++ {
		for _, alone := range []bool{true, false} {
			memory := vfs.NewCrashableMem()
			files, _ := failing(memory, n, alone)
			m := newMachine(t, files)
			synced, shown := drive(t, m)
			_ = m.Close()
			expectState(t, fmt.Sprintf("write %d fails (alone %v)", n, alone), memory.CrashClone(vfs.CrashCloneCfg{}), synced, shown)
		}
	}
}

// expectState opens what is left and compares it with what it says that it is.
func expectState(t *testing.T, what string, files vfs.FS, synced, shown uint64) {
	t.Helper()
	m := newMachine(t, files)
	defer m.Close()
	applied, err := m.Open(context.Background())
	if err != nil || applied < synced || applied > shown {
		t.Errorf("%s: it comes up with index %d, %v; it was synced at %d and shown %d", what, applied, err, synced, shown)
		return
	}
	want := kv.New()
	for i := 1; i <= int(applied); i++ {
		if err := want.Update([]rsm.Entry{{Command: command(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := m.Lookup(kv.Range{})
	if err != nil {
		t.Fatal(err)
	}
	if answer, _ := want.Lookup(kv.Range{}); !reflect.DeepEqual(got, answer) {
		t.Errorf("%s: at index %d it has %+v, want %+v", what, applied, got, answer)
	}
}

func TestDamagedRecords(t *testing.T) {
	whole := (&meta{applied: 5}).append(nil)
	if m, err := parseMeta(whole); err != nil || m.applied != 5 {
		t.Errorf("%+v, %v", m, err)
	}
	for _, record := range [][]byte{nil, {2}, whole[:len(whole)-1], append(whole, 0)} {
		if _, err := parseMeta(record); !errors.Is(err, ErrDamaged) {
			t.Errorf("%x: %v", record, err)
		}
	}
}

func TestOptionsAreValidated(t *testing.T) {
	for _, options := range []Options{{}, {Dir: "d", MemtableBytes: 1}, {Dir: "d", MemtableBytes: MaxMemtableBytes + 1}, {Dir: "d", CacheBytes: -1}} {
		if _, err := New(options); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", options, err)
		}
	}
	m, err := New(Options{Dir: "d", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("close of a machine that was not opened: %v", err)
	}
}

func FuzzMeta(f *testing.F) {
	f.Add((&meta{applied: 1 << 40}).append(nil))
	f.Fuzz(func(t *testing.T, record []byte) {
		if m, err := parseMeta(record); err == nil && string(m.append(nil)) != string(record) {
			t.Errorf("%x is read as %+v", record, m)
		}
	})
}
