package rsm

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Destination is where an Image is saved: a *snapshot.Writer, or what has its sections.
type Destination interface {
	Sessions() (io.Writer, error)
	State() (io.Writer, error)
	File(name string) (io.Writer, error)
}

// Image is the state of a replica as it was when it was prepared, sessions included. It is saved and closed by one goroutine, which need not be
// the one that applies. Close is called whatever Save says; until then the state machine is neither recovered, renewed nor closed, and
// one of KindMemory is handed no Updates.
type Image struct {
	manager  *Manager
	meta     raftpb.SnapshotMeta
	sessions []byte // encoded; nil if there are none
	save     func(ctx context.Context, to SnapshotWriter) error
	close    func() error
	closed   bool
}

// Prepare makes an image of the state as it is. It is called where Apply is. Errors: ErrNoSnapshots, ErrNothingApplied, a *Failure of earlier, the state
// machine's, or ErrMachinePanicked with what it panicked with: those end this snapshot alone.
//
// An on-disk machine's image stands at the last entry that was shown to it, for that is what it will say of itself after Recover and
// Open: it may be below Applied.
func (m *Manager) Prepare(ctx context.Context) (*Image, error) {
	if failure := m.failure.Load(); failure != nil {
		return nil, failure
	}
	if m.kind == KindReplayed {
		return nil, ErrNoSnapshots
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	m.placeMu.Lock()
	at := m.at
	if m.kind == KindOnDisk {
		at = m.kept
	}
	m.placeMu.Unlock()
	if at.index == 0 {
		return nil, ErrNothingApplied
	}
	if m.Applied() < m.opened {
		// Its state is at an entry that the log has yet to tell term and membership of.
		return nil, fmt.Errorf("%w: the state machine came up at index %d, the log is at index %d", ErrNothingApplied, m.opened, m.Applied())
	}
	image := &Image{manager: m, meta: raftpb.SnapshotMeta{
		Index: at.index, Term: at.term, Config: at.config, Kind: m.kind.Snapshot(), StateVersion: m.version,
	}}
	// Here, where nothing changes them: a few thousand sessions take less than a millisecond.
	if m.sessions.len() > 0 {
		var encoded bytes.Buffer
		_ = m.sessions.encode(&encoded) // writes to memory
		image.sessions = encoded.Bytes()
	}
	if err := image.prepare(m.machine); err != nil {
		return nil, err
	}
	m.images.Add(1)
	if m.kind == KindMemory {
		m.exclusive.Add(1)
	}
	return image, nil
}

// prepare finds out how the state machine is saved, and lets it fix its state.
func (i *Image) prepare(machine StateMachine) error {
	concurrent, ok := machine.(Concurrent)
	if !ok {
		i.save = machine.(Snapshotter).Save
		i.close = func() error { return nil }
		return nil
	}
	var view View
	err := guarded(func() (err error) {
		view, err = concurrent.Prepare()
		return err
	})
	if err == nil && view == nil {
		err = fmt.Errorf("%w: Prepare returned no view", ErrNoSnapshots)
	}
	if err != nil {
		return fmt.Errorf("prepare snapshot: %w", err)
	}
	i.save, i.close = view.Save, view.Close
	return nil
}

func stateVersion(machine StateMachine) (version uint64) {
	if versioner, ok := machine.(StateVersioner); ok {
		_ = guarded(func() error { version = versioner.StateVersion(); return nil })
	}
	return version
}

// Meta returns what the snapshot's metadata are to be, but for shard and replica.
func (i *Image) Meta() raftpb.SnapshotMeta { return i.meta }

// Save writes the image, once. Writes fail when ctx has ended. Errors: those of to, the cause of ctx, the state machine's, or
// ErrMachinePanicked with what it panicked with: they end this snapshot alone.
func (i *Image) Save(ctx context.Context, to Destination) error {
	if i.sessions != nil {
		sessions, err := to.Sessions()
		if err == nil {
			_, err = sessions.Write(i.sessions)
		}
		if err != nil {
			return err
		}
	}
	state, err := to.State()
	if err != nil {
		return err
	}
	writer := &stateWriter{ctx: ctx, to: to, state: state}
	if err := guarded(func() error { return i.save(ctx, writer) }); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	// A state machine that overlooks a failed write must not make a snapshot of a part.
	return writer.err
}

// Close lets go of the image. The error is the state machine's and of no consequence but to be reported.
func (i *Image) Close() error {
	if i.closed {
		return nil
	}
	i.closed = true
	err := guarded(i.close)
	if i.manager.kind == KindMemory {
		i.manager.exclusive.Add(-1)
	}
	i.manager.images.Add(-1)
	return err
}

// stateWriter is the SnapshotWriter that a state machine is handed.
type stateWriter struct {
	ctx   context.Context
	to    Destination
	state io.Writer
	err   error // the first
}

// Write implements io.Writer.
func (w *stateWriter) Write(data []byte) (int, error) { return w.write(w.state, data) }

// File implements SnapshotWriter.
func (w *stateWriter) File(name string) (io.Writer, error) {
	if w.err == nil {
		w.err = w.ended()
	}
	if w.err != nil {
		return nil, w.err
	}
	file, err := w.to.File(name)
	if err != nil {
		w.err = err
		return nil, err
	}
	return fileWriter{w, file}, nil
}

func (w *stateWriter) write(to io.Writer, data []byte) (int, error) {
	if w.err == nil {
		w.err = w.ended()
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := to.Write(data)
	if err != nil {
		w.err = err
	}
	return n, err
}

func (w *stateWriter) ended() error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return nil
}

// fileWriter writes one file.
type fileWriter struct {
	w    *stateWriter
	file io.Writer
}

// Write implements io.Writer.
func (f fileWriter) Write(data []byte) (int, error) { return f.w.write(f.file, data) }
