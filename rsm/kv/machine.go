package kv

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/internal/items"
)

// Machine is the state machine. It is a rsm.Concurrent and a rsm.Checksummer.
type Machine struct {
	tree tree
	sum  items.Sum
}

// New returns an empty one.
func New() *Machine { return &Machine{} }

// Update applies commands.
func (m *Machine) Update(entries []rsm.Entry) error {
	for i := range entries {
		entries[i].Result = m.apply(entries[i].Command)
	}
	return nil
}

func (m *Machine) apply(data []byte) rsm.Result {
	command, err := Decode(data)
	if err != nil {
		return BadCommand()
	}
	current, exists := m.tree.get(command.Key)
	change, result := command.Apply(current, exists)
	if (change.Set || change.Delete) && exists {
		m.sum.Remove(command.Key, current)
	}
	switch {
	case change.Set:
		m.sum.Add(command.Key, command.Value)
		m.tree.set(command.Key, bytes.Clone(command.Value)) // the command is a piece of a larger buffer, which must not stay for it
	case change.Delete:
		m.tree.remove(command.Key)
	}
	return result
}

// Lookup answers Get, Range and Size; ErrQuery for others.
func (m *Machine) Lookup(query any) (any, error) {
	switch q := query.(type) {
	case Get:
		data, exists := m.tree.get([]byte(q.Key))
		return Value{Exists: exists, Data: data}, nil
	case Range:
		return page(m.tree.root, &q), nil
	case Size:
		return m.sum.Count, nil
	}
	return nil, QueryError(query)
}

func page(root *node, q *Range) (p Page) {
	most := q.Most()
	root.ascend(q.From, func(key string, value []byte) bool {
		if q.To != "" && key >= q.To {
			return false
		}
		if p.More = len(p.Items) >= most; p.More {
			return false
		}
		p.Items = append(p.Items, Item{key, value})
		return true
	})
	return p
}

// Checksum returns a sum over all items. It is kept up to date by every command and costs nothing to ask for.
func (m *Machine) Checksum() (uint64, error) { return m.sum.Hash ^ m.sum.Count, nil }

// StateVersion numbers the format of snapshots.
func (m *Machine) StateVersion() uint64 { return 1 }

// view is the state at a Prepare.
type view struct {
	root *node
	sum  items.Sum
}

// Prepare implements rsm.Concurrent. It takes no longer for a large state.
func (m *Machine) Prepare() (rsm.View, error) { return &view{m.tree.freeze(), m.sum}, nil }

// Save implements rsm.View.
func (v *view) Save(_ context.Context, to rsm.SnapshotWriter) (err error) {
	writer := items.NewWriter(to)
	var key []byte
	v.root.ascend("", func(k string, value []byte) bool {
		key = append(key[:0], k...)
		err = writer.Add(key, value)
		return err == nil
	})
	if err != nil {
		return err
	}
	return writer.Close(v.sum)
}

// Close implements rsm.View.
func (v *view) Close() error { return nil }

// Recover implements rsm.Concurrent. The former state is replaced once all of the new one was read and checked.
func (m *Machine) Recover(_ context.Context, from rsm.SnapshotReader) error {
	var next Machine
	reader := items.NewReader(from)
	for {
		key, value, err := reader.Next()
		if errors.Is(err, io.EOF) {
			next.sum = reader.Sum()
			*m = next
			return nil
		}
		if err != nil {
			return err
		}
		next.tree.set(key, bytes.Clone(value))
	}
}

// Close implements rsm.StateMachine.
func (m *Machine) Close() error { return nil }
