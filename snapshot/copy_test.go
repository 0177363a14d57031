package snapshot_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// copySource is a file with all kinds of sections, an empty file among them.
func copySource(t testing.TB, compress bool) []byte {
	t.Helper()
	var out bytes.Buffer
	meta := raftpb.SnapshotMeta{ShardID: 1, ReplicaID: 2, Index: 9, Term: 3, Kind: raftpb.SnapshotMemory, StateVersion: 4}
	w, err := snapshot.NewWriter(&out, meta, snapshot.WriterOptions{Compress: compress, BlockBytes: 64})
	if err != nil {
		t.Fatal(err)
	}
	write := func(to io.Writer, err error) func(string) {
		return func(text string) {
			if err == nil {
				_, err = io.WriteString(to, text)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	write(w.Sessions())("sessions")
	write(w.State())(string(bytes.Repeat([]byte("state "), 100)))
	write(w.File("one"))("content of one")
	write(w.File("empty"))("")
	write(w.File("two"))(string(bytes.Repeat([]byte("two "), 100)))
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sections reads everything.
func sections(t testing.TB, content []byte) (meta raftpb.SnapshotMeta, all []string) {
	t.Helper()
	r, err := snapshot.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for {
		section, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Meta(), all
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(section)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, section.Kind.String()+" "+section.Name+" "+string(text))
	}
}

func TestCopyChangesNothingButTheMetadata(t *testing.T) {
	for _, compress := range []bool{false, true} {
		source := copySource(t, compress)
		var out bytes.Buffer
		read, written, err := snapshot.Copy(bytes.NewReader(source), &out, func(meta raftpb.SnapshotMeta) (raftpb.SnapshotMeta, error) {
			meta.ReplicaID = 77
			return meta, nil
		}, snapshot.WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, before := sections(t, source)
		meta, after := sections(t, out.Bytes())
		if meta.ReplicaID != 77 || meta.Index != 9 || meta.StateVersion != 4 || len(before) != 5 {
			t.Errorf("metadata %+v, %d sections", meta, len(before))
		}
		for i := range before {
			if after[i] != before[i] {
				t.Errorf("section %d was %q and is %q", i, before[i], after[i])
			}
		}
		if read.Bytes != uint64(len(source)) || written.Bytes != uint64(out.Len()) || read.Digest == written.Digest {
			t.Errorf("read %+v, written %+v", read, written)
		}
	}
}

// TestCopyNoticesEverything flips every bit of a file and cuts it at every byte: no copy is ever finished.
func TestCopyNoticesEverything(t *testing.T) {
	source := copySource(t, true)
	same := func(meta raftpb.SnapshotMeta) (raftpb.SnapshotMeta, error) { return meta, nil }
	refused := func(what string, at int, content []byte) {
		_, _, err := snapshot.Copy(bytes.NewReader(content), io.Discard, same, snapshot.WriterOptions{})
		for _, known := range []error{snapshot.ErrDamaged, snapshot.ErrTruncated, snapshot.ErrForeign, snapshot.ErrVersion} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Errorf("%s at %d: %v", what, at, err)
	}
	for i := range source {
		refused("cut", i, source[:i])
		for bit := range 8 {
			flipped := bytes.Clone(source)
			flipped[i] ^= 1 << bit
			refused("flip", i, flipped)
		}
	}
	refused("a byte behind", len(source), append(bytes.Clone(source), 0))
	fault := errors.New("not this one")
	if _, _, err := snapshot.Copy(bytes.NewReader(source), io.Discard, func(meta raftpb.SnapshotMeta) (raftpb.SnapshotMeta, error) {
		return meta, fault
	}, snapshot.WriterOptions{}); !errors.Is(err, fault) {
		t.Error(err)
	}
}
