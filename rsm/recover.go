package rsm

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// Recover replaces the state by a snapshot's, sessions included, and moves the applied index there. It is called where Apply is, and Lookups
// wait. ErrSnapshotKind, ErrStateVersion and ErrNoSnapshots come before the state machine is touched and leave it as it is; every other error is a
// *Failure: those of the source, the state machine's, a panic, ErrSnapshotUnread. An on-disk machine's new state need not be
// durable before Sync.
func (m *Manager) Recover(ctx context.Context, source *snapshot.Reader) error {
	if failure := m.failure.Load(); failure != nil {
		return failure
	}
	m.alone("recovered")
	meta := source.Meta()
	if err := m.Accepts(&meta); err != nil {
		return err
	}
	at := place{meta.Index, meta.Term, meta.Config}
	if failure := m.replace(ctx, source); failure != nil {
		return failure
	}
	if m.kind == KindOnDisk {
		m.opened = at.index
	}
	m.reset(at)
	return m.tellRecovered(at)
}

// Accepts says whether the state machine can recover from a snapshot with these metadata, so that one which it cannot use is refused before it has
// come. It is called on any goroutine, while the state machine is neither renewed nor closed. Errors: ErrNoSnapshots, ErrSnapshotKind,
// ErrStateVersion.
func (m *Manager) Accepts(meta *raftpb.SnapshotMeta) error {
	switch version := m.version; {
	case m.kind == KindReplayed:
		return fmt.Errorf("%w, so it recovers from none", ErrNoSnapshots)
	case meta.Kind != m.kind.Snapshot():
		return fmt.Errorf("%w: it is of kind %s, the state machine is of kind %s", ErrSnapshotKind, meta.Kind, m.kind.Snapshot())
	case meta.StateVersion > version:
		return fmt.Errorf("%w: it is of version %d, the state machine reads up to %d", ErrStateVersion, meta.StateVersion, version)
	}
	return nil
}

// replace lets the state machine recover. The failure is there before the lock is let go of, as in update.
func (m *Manager) replace(ctx context.Context, source *snapshot.Reader) *Failure {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trying(func() error {
		m.synced.Store(0) // whatever a crash finds from here on
		sessions := m.newSessions()
		reader := &stateReader{ctx: ctx, source: source, version: source.Meta().StateVersion}
		if err := reader.start(&sessions); err != nil {
			return err
		}
		if err := m.machine.(interface {
			Recover(context.Context, SnapshotReader) error
		}).Recover(ctx, reader); err != nil {
			return fmt.Errorf("recover: %w", err)
		}
		if err := reader.end(); err != nil {
			return err
		}
		m.sessions = sessions
		if keeper, ok := m.machine.(SessionKeeper); ok {
			return m.sessions.handOver(keeper, source.Meta().Index)
		}
		return nil
	})
}

// handOver gives a state machine all sessions of a snapshot, in deltas of a bounded size. Until the last one and a Sync the recovery is
// not over, and a crash begins it anew.
func (t *sessionTable) handOver(keeper SessionKeeper, index uint64) error {
	const limit = 1 << 12
	delta := &SessionDelta{Index: index, table: t}
	flush := func() error {
		if err := keeper.UpdateWithSessions(nil, delta); err != nil {
			return err
		}
		if !delta.taken {
			return ErrSessionsUnwritten
		}
		delta.writes, delta.taken = delta.writes[:0], false
		return nil
	}
	for s := t.oldest; s != nil; s = s.newer {
		s.stored = true
		delta.writes = append(delta.writes, SessionWrite{Key: sessionKey(s.client), Value: sessionRecord(s)})
		for _, slot := range s.results() {
			slot.stored, s.heavy = true, true
			result := s.result(slot)
			delta.writes = append(delta.writes, SessionWrite{Key: resultKey(s.client, slot.series), Value: resultRecord(&result)})
		}
		if len(delta.writes) >= limit {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// stateReader is the SnapshotReader that a state machine is handed. The sections come in the order of the file: sessions, state, files.
type stateReader struct {
	ctx     context.Context
	source  *snapshot.Reader
	version uint64
	section snapshot.Section
	kind    snapshot.Kind // of section, 0 if there is none any more
	taken   bool          // section was handed out as a file, or is the state
	ended   bool          // section was read to its end
	err     error         // the first
}

// start reads the sessions and goes to the state.
func (r *stateReader) start(sessions *sessionTable) error {
	if err := r.next(); err != nil {
		return err
	}
	if r.kind == snapshot.KindSessions {
		if sessions.absent {
			return ErrNoSessions
		}
		r.taken = true
		if err := sessions.decode(r.section); err != nil {
			return err
		}
		if err := r.finish(); err != nil {
			return err
		}
	}
	r.taken = r.kind == snapshot.KindState
	return nil
}

// next goes to the next section.
func (r *stateReader) next() error {
	section, err := r.source.Next()
	switch {
	case errors.Is(err, io.EOF):
		r.kind = 0
		return nil
	case err != nil:
		return err
	}
	r.section, r.kind, r.taken, r.ended = section, section.Kind, false, false
	return nil
}

// Read implements io.Reader for the state. A state of no bytes has no section.
func (r *stateReader) Read(data []byte) (int, error) {
	if r.kind != snapshot.KindState {
		return 0, r.orEnd()
	}
	return r.read(data)
}

func (r *stateReader) orEnd() error {
	if r.err != nil {
		return r.err
	}
	return io.EOF
}

func (r *stateReader) read(data []byte) (int, error) {
	if r.err == nil && r.ctx.Err() != nil {
		r.err = context.Cause(r.ctx)
	}
	if r.err != nil || r.ended {
		return 0, r.orEnd()
	}
	n, err := r.section.Read(data)
	if errors.Is(err, io.EOF) {
		r.ended = true
	} else {
		r.err = err
	}
	return n, err
}

// StateVersion implements SnapshotReader.
func (r *stateReader) StateVersion() uint64 { return r.version }

// NextFile implements SnapshotReader.
func (r *stateReader) NextFile() (string, io.Reader, error) {
	if err := r.finish(); err != nil {
		return "", nil, err
	}
	if r.kind == 0 {
		return "", nil, io.EOF
	}
	r.taken = true
	return r.section.Name, &fileReader{r, r.section}, nil
}

// finish demands that what was handed out was read, and goes to the next section.
func (r *stateReader) finish() error {
	if r.err != nil {
		return r.err
	}
	if !r.taken || r.kind == 0 {
		return nil
	}
	var space [1]byte
	if !r.ended {
		if n, err := r.read(space[:]); n > 0 {
			r.err = fmt.Errorf("%w: %s", ErrSnapshotUnread, r.place())
		} else if err != nil && !errors.Is(err, io.EOF) {
			r.err = err
		}
	}
	if r.err == nil {
		r.err = r.next()
	}
	return r.err
}

func (r *stateReader) place() string {
	if r.kind == snapshot.KindFile {
		return fmt.Sprintf("file %q", r.section.Name)
	}
	return "section " + r.kind.String()
}

// end demands that everything was read, and lets the source check its footer.
func (r *stateReader) end() error {
	if err := r.finish(); err != nil {
		return err
	}
	if r.kind != 0 {
		return fmt.Errorf("%w: %s was not asked for", ErrSnapshotUnread, r.place())
	}
	return nil
}

// fileReader reads one file, until the next one.
type fileReader struct {
	r       *stateReader
	section snapshot.Section
}

// Read implements io.Reader.
func (f *fileReader) Read(data []byte) (int, error) {
	if f.r.section != f.section {
		return 0, fmt.Errorf("%w: file %q is over", snapshot.ErrUsage, f.section.Name)
	}
	return f.r.read(data)
}
