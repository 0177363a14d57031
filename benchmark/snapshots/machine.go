package snapshots

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/flotilla-raft/flotilla/rsm"
)

const pageBytes = 16 << 10

// pages is a state machine with a state of a fixed size. Each command changes one page. A prepared view shares all pages; one that is changed
// while a view exists is copied first.
type pages struct {
	list    [][]byte
	owned   []uint64 // bits: the page was made after the newest view, so no view has it
	count   uint64
	views   atomic.Int32
	prepare atomic.Int64 // longest time that Prepare took, in nanoseconds
}

func newPages(mib int) *pages {
	p := &pages{list: make([][]byte, max(1, mib<<20/pageBytes))}
	for i := range p.list {
		p.list[i] = make([]byte, pageBytes)
		binary.LittleEndian.PutUint64(p.list[i], uint64(i))
	}
	p.owned = make([]uint64, (len(p.list)+63)/64)
	return p
}

// Update implements rsm.StateMachine.
func (p *pages) Update(entries []rsm.Entry) error {
	shared := p.views.Load() > 0
	for i := range entries {
		p.count++
		entries[i].Result.Value = p.count
		at := int(entries[i].Index * 0x9e3779b97f4a7c15 >> 32 % uint64(len(p.list)))
		if bit := uint64(1) << (at % 64); shared && p.owned[at/64]&bit == 0 {
			p.list[at] = append([]byte(nil), p.list[at]...)
			p.owned[at/64] |= bit
		}
		binary.LittleEndian.PutUint64(p.list[at][8:], entries[i].Index)
	}
	return nil
}

// Lookup implements rsm.StateMachine.
func (p *pages) Lookup(any) (any, error) { return p.count, nil }

// Close implements rsm.StateMachine.
func (p *pages) Close() error { return nil }

// Prepare implements rsm.Concurrent.
func (p *pages) Prepare() (rsm.View, error) {
	began := time.Now()
	view := &view{of: p, list: append([][]byte(nil), p.list...), count: p.count}
	clear(p.owned)
	p.views.Add(1)
	p.prepare.Store(max(p.prepare.Load(), int64(time.Since(began))))
	return view, nil
}

type view struct {
	of    *pages
	list  [][]byte
	count uint64
}

// Save implements rsm.View.
func (v *view) Save(_ context.Context, to rsm.SnapshotWriter) error {
	if _, err := to.Write(binary.LittleEndian.AppendUint64(nil, v.count)); err != nil {
		return err
	}
	for _, page := range v.list {
		if _, err := to.Write(page); err != nil {
			return err
		}
	}
	return nil
}

// Close implements rsm.View.
func (v *view) Close() error {
	v.of.views.Add(-1)
	return nil
}

// Recover implements rsm.Concurrent.
func (p *pages) Recover(_ context.Context, from rsm.SnapshotReader) error {
	var count [8]byte
	if _, err := io.ReadFull(from, count[:]); err != nil {
		return err
	}
	p.count, p.list = binary.LittleEndian.Uint64(count[:]), nil
	for {
		page := make([]byte, pageBytes)
		if _, err := io.ReadFull(from, page); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("page %d: %w", len(p.list), err)
		}
		p.list = append(p.list, page)
	}
	p.owned = make([]uint64, (len(p.list)+63)/64)
	return nil
}
