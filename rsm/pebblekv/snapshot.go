package pebblekv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/internal/items"
)

// tableBytes is about how large the tables are that a recovery writes.
const tableBytes = 64 << 20

// view is the state at a Prepare.
type view struct {
	snapshot *pebble.Snapshot
	meta     meta
}

// Prepare implements rsm.Concurrent.
func (m *Machine) Prepare() (rsm.View, error) { return &view{m.db.NewSnapshot(), m.meta}, nil }

// Save implements rsm.View: the applied index, 8 bytes, and the items.
func (v *view) Save(_ context.Context, to rsm.SnapshotWriter) error {
	if _, err := to.Write(binary.LittleEndian.AppendUint64(nil, v.meta.applied)); err != nil {
		return err
	}
	writer := items.NewWriter(to)
	err := ascend(v.snapshot, []byte{dataPrefix}, []byte{dataPrefix + 1}, func(key, value []byte) (bool, error) {
		return true, writer.Add(key[1:], value)
	})
	if err != nil {
		return err
	}
	return writer.Close(v.meta.sum)
}

// Close implements rsm.View.
func (v *view) Close() error { return v.snapshot.Close() }

// Recover implements rsm.Concurrent. doc.go says how it stays whole through a crash.
func (m *Machine) Recover(ctx context.Context, from rsm.SnapshotReader) (err error) {
	if err := m.latch.get(); err != nil {
		return err
	}
	var head [8]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: it has no applied index", items.ErrDamaged)
		}
		return err
	}
	next := meta{applied: binary.LittleEndian.Uint64(head[:])}
	if err := m.removeIncoming(); err != nil {
		return err
	}
	if err := m.guard.MkdirAll(m.incoming(), 0o755); err != nil {
		return err
	}
	tables := &tables{machine: m}
	defer func() {
		if err == nil {
			err = m.removeIncoming()
		}
	}()
	if err := tables.writeAll(items.NewReader(from), &next); err != nil {
		return errors.Join(err, tables.close())
	}
	everything := pebble.KeyRange{Start: []byte{0}, End: []byte{0xff}}
	if _, err := m.db.IngestAndExcise(ctx, tables.paths, nil, nil, everything); err != nil {
		return err
	}
	m.meta = next
	m.changed.Store(true)
	return m.latch.get()
}

func (m *Machine) incoming() string { return m.options.FS.PathJoin(m.options.Dir, "incoming") }

func (m *Machine) removeIncoming() error {
	if err := m.options.FS.RemoveAll(m.incoming()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("pebblekv: %w", err)
	}
	return nil
}

// tables writes items that come in order to tables.
type tables struct {
	machine *Machine
	paths   []string
	writer  *sstable.Writer // of the last path
	bytes   int
}

// writeAll writes what a snapshot holds, and what is known of it as the last key.
func (t *tables) writeAll(from *items.Reader, next *meta) error {
	var space []byte
	for {
		key, value, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		space = append(append(space[:0], dataPrefix), key...)
		if err := t.set(space, value); err != nil {
			return err
		}
	}
	next.sum = from.Sum()
	if err := t.set(metaKey, next.append(nil)); err != nil {
		return err
	}
	return t.close()
}

func (t *tables) set(key, value []byte) error {
	if t.bytes >= tableBytes {
		if err := t.close(); err != nil {
			return err
		}
	}
	if t.writer == nil {
		if err := t.begin(); err != nil {
			return err
		}
	}
	t.bytes += len(key) + len(value)
	return t.writer.Set(key, value)
}

func (t *tables) begin() error {
	m := t.machine
	path := m.options.FS.PathJoin(m.incoming(), fmt.Sprintf("%06d.sst", len(t.paths)))
	file, err := m.guard.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	options := m.pebbleOptions()
	options.EnsureDefaults()
	t.paths = append(t.paths, path)
	t.writer = sstable.NewWriter(objstorageprovider.NewFileWritable(file), options.MakeWriterOptions(len(options.Levels)-1, m.db.TableFormat()))
	return nil
}

// close ends the table under way, which syncs it.
func (t *tables) close() error {
	if t.writer == nil {
		return nil
	}
	err := t.writer.Close()
	t.writer, t.bytes = nil, 0
	return err
}
