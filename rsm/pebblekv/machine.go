package pebblekv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/kv"
)

// Machine is the state machine. It is a rsm.SessionKeeper and a rsm.Checksummer.
type Machine struct {
	options Options
	latch   latch
	guard   *guard
	db      *pebble.DB // nil before Open and after Close
	meta    meta
	changed atomic.Bool // since the last Sync

	// changes are those of the Update under way, which reads of the same Update must see.
	changes map[string]change
	space   []byte
}

// change is what an Update has made of a key. value belongs to a command.
type change struct {
	value  []byte
	exists bool
}

// New returns a machine. Nothing is opened yet; the error wraps ErrOptions.
func New(options Options) (*Machine, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	m := &Machine{options: options.withDefaults(), latch: latch{failed: make(chan struct{})}, changes: make(map[string]change)}
	m.guard = &guard{FS: m.options.FS, latch: &m.latch, closed: make(chan struct{})}
	return m, nil
}

// Open implements rsm.OnDisk. Errors: ErrDamaged, those of the file system and of Pebble.
func (m *Machine) Open(context.Context) (applied uint64, err error) {
	if err := makeDirectory(m.options.FS, m.options.Dir); err != nil {
		return 0, fmt.Errorf("pebblekv: %w", err)
	}
	if err := m.removeIncoming(); err != nil {
		return 0, err
	}
	db, err := pebble.Open(m.options.Dir, m.pebbleOptions())
	if err != nil {
		return 0, fmt.Errorf("pebblekv: %s: %w", m.options.Dir, err)
	}
	m.db = db
	m.guard.opened.Store(true)
	if err := m.latch.get(); err != nil {
		return 0, err
	}
	record, closer, err := db.Get(metaKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("pebblekv: %s: %w", m.options.Dir, err)
	}
	defer closer.Close()
	if m.meta, err = parseMeta(record); err != nil {
		return 0, fmt.Errorf("%s: %w", m.options.Dir, err)
	}
	return m.meta.applied, nil
}

// Update implements rsm.StateMachine, for those who drive the machine without sessions.
func (m *Machine) Update(entries []rsm.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	return m.update(entries, entries[len(entries)-1].Index, nil)
}

// UpdateWithSessions implements rsm.SessionKeeper.
func (m *Machine) UpdateWithSessions(entries []rsm.Entry, delta *rsm.SessionDelta) error {
	return m.update(entries, delta.Index, delta.Writes)
}

// update writes one batch: data, what writes returns once the results are set, and the applied index.
func (m *Machine) update(entries []rsm.Entry, applied uint64, writes func() []rsm.SessionWrite) error {
	if err := m.latch.get(); err != nil {
		return err
	}
	clear(m.changes)
	batch := m.db.NewBatch()
	defer batch.Close()
	next := m.meta
	next.applied = applied
	for i := range entries {
		if err := m.apply(&entries[i], batch, &next); err != nil {
			return err
		}
	}
	if writes != nil {
		if err := m.keepSessions(writes(), batch); err != nil {
			return err
		}
	}
	m.space = next.append(m.space[:0])
	if err := batch.Set(metaKey, m.space, nil); err != nil {
		return err
	}
	if err := m.db.Apply(batch, pebble.NoSync); err != nil {
		return err
	}
	m.changed.Store(true)
	m.meta = next
	return m.latch.get()
}

// apply adds one command to a batch.
func (m *Machine) apply(entry *rsm.Entry, batch *pebble.Batch, next *meta) error {
	command, err := kv.Decode(entry.Command)
	if err != nil {
		entry.Result = kv.BadCommand()
		return nil //nolint:nilerr // the client is told; it must not fail the replica
	}
	m.space = append(append(m.space[:0], dataPrefix), command.Key...)
	current, exists, closer, err := m.find(m.space)
	if err != nil {
		return err
	}
	done, result := command.Apply(current, exists)
	result.Data = bytes.Clone(result.Data)
	entry.Result = result
	if (done.Set || done.Delete) && exists {
		next.sum.Remove(command.Key, current)
	}
	if closer != nil {
		if err := closer.Close(); err != nil {
			return err
		}
	}
	switch {
	case done.Set:
		next.sum.Add(command.Key, command.Value)
		m.changes[string(m.space)] = change{command.Value, true}
		return batch.Set(m.space, command.Value, nil)
	case done.Delete:
		m.changes[string(m.space)] = change{}
		return batch.Delete(m.space, nil)
	}
	return nil
}

// find returns what is under a key, with the Update under way. The value is valid until the closer, if there is one, is closed.
func (m *Machine) find(key []byte) (value []byte, exists bool, closer io.Closer, err error) {
	if made, ok := m.changes[string(key)]; ok {
		return made.value, made.exists, nil, nil
	}
	value, closer, err = m.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil, nil
	}
	return value, err == nil, closer, err
}

func (m *Machine) keepSessions(writes []rsm.SessionWrite, batch *pebble.Batch) error {
	for i := range writes {
		m.space = append(append(m.space[:0], sessionPrefix), writes[i].Key...)
		var err error
		if writes[i].Delete {
			err = batch.Delete(m.space, nil)
		} else {
			err = batch.Set(m.space, writes[i].Value, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// LoadSessions implements rsm.SessionKeeper.
func (m *Machine) LoadSessions(yield func(key, value []byte) error) error {
	return ascend(m.db, []byte{sessionPrefix}, []byte{sessionPrefix + 1}, func(key, value []byte) (bool, error) {
		return true, yield(key[1:], value)
	})
}

// Sync implements rsm.OnDisk: it flushes the memtable, if there is something in it.
func (m *Machine) Sync() error {
	if err := m.latch.get(); err != nil {
		return err
	}
	if !m.changed.Swap(false) {
		return nil
	}
	flushed, err := m.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-flushed:
	case <-m.latch.failed:
	}
	return m.latch.get()
}

// Checksum returns a sum over all items. It is kept up to date by every command and costs nothing to ask for.
func (m *Machine) Checksum() (uint64, error) { return m.meta.sum.Hash ^ m.meta.sum.Count, nil }

// StateVersion numbers the format of snapshots.
func (m *Machine) StateVersion() uint64 { return 1 }

// Close implements rsm.StateMachine. What was not synced may be lost.
func (m *Machine) Close() error {
	if m.db == nil {
		return nil
	}
	close(m.guard.closed)
	err := m.db.Close()
	m.db = nil
	if m.latch.get() == nil {
		return err
	}
	return nil // what failed has told it
}
