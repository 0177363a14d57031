package snapshot

import (
	"errors"
	"fmt"
	"io"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Copy reads a whole snapshot and writes it with other metadata, which change makes of those it has. Everything is checked on its way; what
// was written is no snapshot unless the error is nil. Blocks are cut and compressed as the options say. The summaries are of what was read and of
// what was written. Errors: ErrForeign, ErrVersion, ErrTruncated, ErrDamaged, that of change, and those of in and out.
func Copy(in io.Reader, out io.Writer, change func(raftpb.SnapshotMeta) (raftpb.SnapshotMeta, error), options WriterOptions) (read, written Summary, err error) {
	r, err := NewReader(in)
	if err != nil {
		return read, written, err
	}
	meta, err := change(r.Meta())
	if err != nil {
		return r.Summary(), written, err
	}
	w, err := NewWriter(out, meta, options)
	if err != nil {
		return r.Summary(), written, err
	}
	buffer := make([]byte, DefaultBlockBytes)
	for {
		section, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return r.Summary(), written, err
		}
		to, err := w.copied(&section)
		if err == nil {
			_, err = io.CopyBuffer(to, section, buffer)
		}
		if err != nil {
			return r.Summary(), written, err
		}
	}
	if n, err := io.ReadFull(in, buffer[:1]); n > 0 {
		return r.Summary(), written, fmt.Errorf("%w: bytes behind the footer, at byte %d", ErrDamaged, r.summary.Bytes)
	} else if !errors.Is(err, io.EOF) {
		return r.Summary(), written, fmt.Errorf("snapshot: read: %w", err)
	}
	written, err = w.Close()
	return r.Summary(), written, err
}

// copied begins a section like one that was read.
func (w *Writer) copied(section *Section) (io.Writer, error) {
	switch section.Kind {
	case KindSessions:
		return w.Sessions()
	case KindState:
		return w.State()
	}
	return w.File(section.Name)
}
