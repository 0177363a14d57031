package rsmtest

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/kv"
	"github.com/flotilla-raft/flotilla/rsm/pebblekv"
)

// The doubles are right but for one thing each.

type groupCounting struct{ *kv.Machine }

func (m groupCounting) Update(entries []rsm.Entry) error {
	err := m.Machine.Update(entries)
	entries[0].Result.Value |= uint64(len(entries)) << 8
	return err
}

type commandChanging struct{ *kv.Machine }

func (m commandChanging) Update(entries []rsm.Entry) error {
	err := m.Machine.Update(entries)
	clear(entries[0].Command)
	return err
}

type lookupCounting struct{ *kv.Machine }

// lookupTouching is a lookupCounting whose checksum does not tell.
type lookupTouching struct{ *kv.Machine }

func (lookupTouching) Checksum() (uint64, error) { return 0, nil }

func (m lookupTouching) Lookup(query any) (any, error) {
	_ = m.Machine.Update([]rsm.Entry{{Command: kv.Put([]byte("key 3"), []byte("looked up"))}})
	return m.Machine.Lookup(query)
}

func (m lookupCounting) Lookup(query any) (any, error) {
	_ = m.Machine.Update([]rsm.Entry{{Command: kv.Put([]byte("looked up"), nil)}})
	return m.Machine.Lookup(query)
}

type answerReusing struct {
	*kv.Machine
	items []kv.Item
}

func (m *answerReusing) Lookup(query any) (any, error) {
	answer, err := m.Machine.Lookup(query)
	if page, ok := answer.(kv.Page); ok {
		m.items = append(m.items[:0], page.Items...)
		page.Items = m.items
		return page, err
	}
	return answer, err
}

type lonely struct {
	*kv.Machine
	inside atomic.Int32
}

func (m *lonely) Lookup(query any) (any, error) {
	defer m.inside.Add(-1)
	if m.inside.Add(1) > 1 {
		return nil, errors.New("two at a time")
	}
	for range 100 {
		runtime.Gosched()
	}
	return m.Machine.Lookup(query)
}

type uncounted struct {
	*kv.Machine
	updates uint64
}

func (m *uncounted) Update(entries []rsm.Entry) error {
	err := m.Machine.Update(entries)
	for i := range entries {
		m.updates++
		entries[i].Result.Value |= m.updates << 8
	}
	return err
}

type merging struct{ *kv.Machine }

func (m merging) Recover(ctx context.Context, from rsm.SnapshotReader) error {
	former, _ := m.Lookup(kv.Range{Limit: -1})
	err := m.Machine.Recover(ctx, from)
	for _, item := range former.(kv.Page).Items {
		_ = m.Update([]rsm.Entry{{Command: kv.PutIfAbsent([]byte(item.Key), item.Value)}})
	}
	return err
}

type shutWhileSaving struct {
	*kv.Machine
	saving atomic.Bool
	meet   sync.Once
	met    chan struct{} // closed by the first Lookup that comes while it is saved
}

func (m *shutWhileSaving) Lookup(query any) (any, error) {
	if m.saving.Load() {
		m.meet.Do(func() { close(m.met) })
		return nil, errors.New("it is being saved")
	}
	return m.Machine.Lookup(query)
}

func (m *shutWhileSaving) Prepare() (rsm.View, error) {
	inner, err := m.Machine.Prepare()
	return viewOf{inner, func(ctx context.Context, to rsm.SnapshotWriter) error {
		m.saving.Store(true)
		defer m.saving.Store(false)
		await(m.met)
		return inner.Save(ctx, to)
	}}, err
}

// viewOf is a view with another Save.
type viewOf struct {
	rsm.View
	save func(context.Context, rsm.SnapshotWriter) error
}

func (v viewOf) Save(ctx context.Context, to rsm.SnapshotWriter) error { return v.save(ctx, to) }

// await waits until others have done something. Where they never do, the double is none, and its test says so.
func await(done <-chan struct{}) {
	select {
	case <-done:
	case <-time.After(10 * time.Second):
	}
}

// lateView fixes the state when it is saved, and waits for one that differs from that of Prepare: a command may change nothing.
type lateView struct {
	*kv.Machine
	mu      sync.Mutex
	waiting map[uint64][]chan struct{} // by the checksum at Prepare; closed by the first Update that leaves another one
}

func (m *lateView) Update(entries []rsm.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, _ := m.Checksum()
	err := m.Machine.Update(entries)
	if after, _ := m.Checksum(); after != before {
		for _, later := range m.waiting[before] {
			close(later)
		}
		delete(m.waiting, before)
	}
	return err
}

func (m *lateView) Prepare() (rsm.View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	later := make(chan struct{})
	sum, _ := m.Checksum()
	m.waiting[sum] = append(m.waiting[sum], later)
	inner, err := m.Machine.Prepare()
	return viewOf{inner, func(ctx context.Context, to rsm.SnapshotWriter) error {
		await(later)
		m.mu.Lock()
		defer m.mu.Unlock()
		now, err := m.Machine.Prepare()
		if err != nil {
			return err
		}
		return now.Save(ctx, to)
	}}, err
}

type lenient struct{ *kv.Machine }

func (m lenient) Recover(ctx context.Context, from rsm.SnapshotReader) error {
	_ = m.Machine.Recover(ctx, from)
	return nil
}

type draining struct{ *kv.Machine }

func (m draining) Recover(ctx context.Context, from rsm.SnapshotReader) error {
	_ = m.Machine.Recover(ctx, from)
	var err error
	for content := io.Reader(from); err == nil; _, content, err = from.NextFile() {
		_, _ = io.Copy(io.Discard, content)
	}
	return nil
}

type wordy struct{ *kv.Machine }

func (m wordy) Recover(ctx context.Context, from rsm.SnapshotReader) error {
	if err := m.Machine.Recover(ctx, from); err != nil {
		return errors.New("it did not work")
	}
	return nil
}

type constantSum struct{ *kv.Machine }

func (constantSum) Checksum() (uint64, error) { return 1, nil }

// historySum depends on how the machine came by its state.
type historySum struct {
	*kv.Machine
	recovered bool
}

func (m *historySum) Recover(ctx context.Context, from rsm.SnapshotReader) error {
	m.recovered = true
	return m.Machine.Recover(ctx, from)
}

func (m *historySum) Checksum() (uint64, error) {
	sum, err := m.Machine.Checksum()
	if m.recovered {
		sum++
	}
	return sum, err
}

// Those on disk.

type forgetsSessions struct{ *pebblekv.Machine }

func (forgetsSessions) LoadSessions(func(key, value []byte) error) error { return nil }

type dropsDeltas struct{ *pebblekv.Machine }

func (m dropsDeltas) UpdateWithSessions(entries []rsm.Entry, delta *rsm.SessionDelta) error {
	err := m.Update(entries)
	delta.Writes()
	return err
}

type miscounts struct {
	*pebblekv.Machine
	by uint64
}

func (m miscounts) Open(ctx context.Context) (uint64, error) {
	applied, err := m.Machine.Open(ctx)
	if applied > 1 {
		applied += m.by
	}
	return applied, err
}

type neverSyncs struct{ *pebblekv.Machine }

func (neverSyncs) Sync() error { return nil }

// marksRecovery leaves a mark while it recovers, and does not know what to make of it.
type marksRecovery struct {
	*pebblekv.Machine
	files vfs.FS
}

func (m marksRecovery) Open(ctx context.Context) (uint64, error) {
	if _, err := m.files.Stat("mark"); err == nil {
		return 0, errors.New("a recovery was interrupted")
	}
	return m.Machine.Open(ctx)
}

func (m marksRecovery) Recover(ctx context.Context, from rsm.SnapshotReader) error {
	file, err := m.files.Create("mark", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Close(), m.Machine.Recover(ctx, from)); err != nil {
		return err
	}
	return m.files.Remove("mark")
}
