package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
)

func testMeta() raftpb.SnapshotMeta {
	return raftpb.SnapshotMeta{
		ShardID: 7, ReplicaID: 2, Index: 99, Term: 5, Kind: raftpb.SnapshotMemory, StateVersion: 3,
		Config: raftpb.ConfigRecord{Index: 12, Membership: raftpb.Membership{ID: 12, Members: []raftpb.Member{{ReplicaID: 2, Kind: raftpb.Voter}}}},
	}
}

// part is a section as a test writes and reads it.
type part struct {
	kind Kind
	name string
	text string
}

func writeParts(t rapid.TB, out io.Writer, options WriterOptions, parts []part) Summary {
	t.Helper()
	w, err := NewWriter(out, testMeta(), options)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		var section io.Writer
		switch p.kind {
		case KindSessions:
			section, err = w.Sessions()
		case KindState:
			section, err = w.State()
		default:
			section, err = w.File(p.name)
		}
		if err != nil {
			t.Fatal(err)
		}
		for text := p.text; text != ""; {
			n := min(len(text), 1+len(text)/2)
			if m, err := section.Write([]byte(text[:n])); err != nil || m != n {
				t.Fatal(m, err)
			}
			text = text[n:]
		}
	}
	summary, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

func readParts(in io.Reader) (parts []part, summary Summary, err error) {
	r, err := NewReader(in)
	if err != nil {
		return nil, Summary{}, err
	}
	for {
		section, err := r.Next()
		if errors.Is(err, io.EOF) {
			return parts, r.Summary(), nil
		}
		if err != nil {
			return parts, r.Summary(), err
		}
		text, err := io.ReadAll(section)
		if err != nil {
			return parts, r.Summary(), err
		}
		parts = append(parts, part{section.Kind, section.Name, string(text)})
	}
}

// TestWhatIsWrittenIsRead writes random sections with random block sizes and reads them a byte at a time and at once. A section
// without bytes other than a file leaves no trace.
func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var parts []part
		text := func(name string) string {
			if rapid.Bool().Draw(t, "repeat") {
				return strings.Repeat("flotilla", rapid.IntRange(0, 300).Draw(t, name))
			}
			return string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, name))
		}
		for _, kind := range []Kind{KindSessions, KindState} {
			if rapid.Bool().Draw(t, "present") {
				parts = append(parts, part{kind: kind, text: text(kind.String())})
			}
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "files") {
			parts = append(parts, part{KindFile, fmt.Sprintf("file/../%d", i), text("file")})
		}
		var file bytes.Buffer
		written := writeParts(t, &file, WriterOptions{
			Compress: rapid.Bool().Draw(t, "compress"), BlockBytes: rapid.IntRange(1, 500).Draw(t, "block"),
		}, parts)
		var want []part
		for _, p := range parts {
			if p.text != "" || p.kind == KindFile {
				want = append(want, p)
			}
		}
		for _, in := range []io.Reader{bytes.NewReader(file.Bytes()), iotest.OneByteReader(bytes.NewReader(file.Bytes()))} {
			got, summary, err := readParts(in)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("read %v, want %v: %v", got, want, err)
			}
			if fmt.Sprint(summary) != fmt.Sprint(written) || summary.Bytes != uint64(file.Len()) {
				t.Fatalf("read %+v, written %+v", summary, written)
			}
		}
	})
}

var testParts = []part{
	{KindSessions, "", "the sessions"}, {KindState, "", strings.Repeat("state ", 20)},
	{KindFile, "empty", ""}, {KindFile, "one", "content"},
}

func testFile(t rapid.TB, options WriterOptions) []byte {
	var file bytes.Buffer
	writeParts(t, &file, options, testParts)
	return file.Bytes()
}

// TestEveryFlippedBitIsNoticed also shows that nothing of a damaged block is handed out, and that no flipped bit makes a later version of a file.
func TestEveryFlippedBitIsNoticed(t *testing.T) {
	for _, options := range []WriterOptions{{BlockBytes: 16}, {BlockBytes: 64, Compress: true}} {
		file := testFile(t, options)
		whole, _, err := readParts(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		for bit := range len(file) * 8 {
			damaged := bytes.Clone(file)
			damaged[bit/8] ^= 1 << (bit % 8)
			parts, _, err := readParts(bytes.NewReader(damaged))
			switch {
			case errors.Is(err, ErrDamaged), errors.Is(err, ErrForeign), errors.Is(err, ErrTruncated):
			default:
				t.Fatalf("byte %d, bit %d: %v", bit/8, bit%8, err)
			}
			for i, p := range parts {
				if p != whole[i] {
					t.Fatalf("byte %d, bit %d: part %d is %v", bit/8, bit%8, i, p)
				}
			}
		}
	}
}

func TestEveryCutIsNoticed(t *testing.T) {
	file := testFile(t, WriterOptions{BlockBytes: 16})
	for length := range file {
		if _, _, err := readParts(bytes.NewReader(file[:length])); !errors.Is(err, ErrTruncated) {
			t.Fatalf("%d of %d bytes: %v", length, len(file), err)
		}
		if _, err := Verify(bytes.NewReader(file[:length]), nil); !errors.Is(err, ErrTruncated) {
			t.Fatalf("verify %d of %d bytes: %v", length, len(file), err)
		}
	}
}

// TestExchangedBlocksAreNoticed: each block is whole, and the digest is not.
func TestExchangedBlocksAreNoticed(t *testing.T) {
	var file bytes.Buffer
	writeParts(t, &file, WriterOptions{BlockBytes: 4}, []part{{KindState, "", "onetwo.."}})
	size := blockHeader + 4
	at := file.Len() - footerSize - 2*size
	first := bytes.Clone(file.Bytes()[at : at+size])
	copy(file.Bytes()[at:], file.Bytes()[at+size:at+2*size])
	copy(file.Bytes()[at+size:], first)
	if _, _, err := readParts(&file); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "digest") {
		t.Fatal(err)
	}
}

func TestVerifyTellsWhatAFileHolds(t *testing.T) {
	file := testFile(t, WriterOptions{BlockBytes: 32})
	told := uint64(0)
	summary, err := Verify(bytes.NewReader(file), func(bytes uint64) { told = max(told, bytes) })
	if err != nil || fmt.Sprint(summary.Meta) != fmt.Sprint(testMeta()) || summary.Bytes != uint64(len(file)) || told == 0 {
		t.Fatalf("%+v, told %d: %v", summary, told, err)
	}
}

func TestReaderRefusesWhatIsNotRead(t *testing.T) {
	r, err := NewReader(bytes.NewReader(testFile(t, WriterOptions{})))
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "sessions") {
		t.Fatal(err)
	}
}

func TestOldSectionsAreRefused(t *testing.T) {
	r, err := NewReader(bytes.NewReader(testFile(t, WriterOptions{})))
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.Next()
	if err == nil {
		_, err = io.ReadAll(first)
	}
	if err == nil {
		_, err = r.Next()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, ErrUsage) {
		t.Error("read of a section that is over: ", err)
	}
	w, err := NewWriter(io.Discard, testMeta(), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := w.Sessions()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.File("name"); err != nil {
		t.Fatal(err)
	}
	if _, err := sessions.Write([]byte("late")); !errors.Is(err, ErrUsage) {
		t.Error("write into a section that is over: ", err)
	}
	if _, err := w.State(); !errors.Is(err, ErrUsage) {
		t.Error("state after a file: ", err)
	}
	if _, err := w.File(""); !errors.Is(err, ErrUsage) {
		t.Error("a file without a name: ", err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); !errors.Is(err, ErrUsage) {
		t.Error("closed twice: ", err)
	}
}

func TestWriterRefusesWhatNobodyCouldUse(t *testing.T) {
	for text, change := range map[string]func(*raftpb.SnapshotMeta, *WriterOptions){
		"shard 0":         func(m *raftpb.SnapshotMeta, _ *WriterOptions) { m.ShardID = 0 },
		"replica 0":       func(m *raftpb.SnapshotMeta, _ *WriterOptions) { m.ReplicaID = 0 },
		"index 0":         func(m *raftpb.SnapshotMeta, _ *WriterOptions) { m.Index = 0 },
		"term 0":          func(m *raftpb.SnapshotMeta, _ *WriterOptions) { m.Term = 0 },
		"kind":            func(m *raftpb.SnapshotMeta, _ *WriterOptions) { m.Kind = 0 },
		"above the index": func(m *raftpb.SnapshotMeta, _ *WriterOptions) { m.Config.Index = 100 },
		"BlockBytes":      func(_ *raftpb.SnapshotMeta, o *WriterOptions) { o.BlockBytes = MaxBlockBytes + 1 },
		"metadata of": func(m *raftpb.SnapshotMeta, _ *WriterOptions) {
			m.Config.Membership.Members = []raftpb.Member{{ReplicaID: 1, Address: strings.Repeat("a", MaxMetaBytes)}}
		},
	} {
		meta, options := testMeta(), WriterOptions{}
		change(&meta, &options)
		if _, err := NewWriter(io.Discard, meta, options); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

var errDisk = errors.New("disk")

// limited fails after some bytes.
type limited struct{ left int }

func (l *limited) Write(data []byte) (int, error) {
	if len(data) > l.left {
		n := l.left
		l.left = 0
		return n, errDisk
	}
	l.left -= len(data)
	return len(data), nil
}

func TestWriterReportsEveryFailedWrite(t *testing.T) {
	size := len(testFile(t, WriterOptions{BlockBytes: 16}))
	for limit := range size {
		err := func() error {
			w, err := NewWriter(&limited{limit}, testMeta(), WriterOptions{BlockBytes: 16})
			if err != nil {
				return err
			}
			state, err := w.State()
			if err != nil {
				return err
			}
			if _, err := state.Write(bytes.Repeat([]byte("x"), size)); err != nil {
				return err
			}
			_, err = w.Close()
			return err
		}()
		if !errors.Is(err, errDisk) {
			t.Fatalf("after %d bytes: %v", limit, err)
		}
	}
}

func TestReaderReportsAFailedRead(t *testing.T) {
	file := testFile(t, WriterOptions{BlockBytes: 16})
	for length := range file {
		in := io.MultiReader(bytes.NewReader(file[:length]), iotest.ErrReader(errDisk))
		if _, _, err := readParts(in); !errors.Is(err, errDisk) {
			t.Fatalf("after %d bytes: %v", length, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(testFile(f, WriterOptions{BlockBytes: 16}))
	f.Add(testFile(f, WriterOptions{Compress: true}))
	f.Add(ofVersion(testFile(f, WriterOptions{BlockBytes: 16}), 1))
	f.Add(ofVersion(testFile(f, WriterOptions{BlockBytes: 16}), version+1))
	f.Fuzz(func(t *testing.T, data []byte) {
		parts, summary, err := readParts(bytes.NewReader(data))
		if errors.Is(err, ErrVersion) && !headerHolds(data) {
			t.Fatalf("%v, and the checksum of the header is wrong", err)
		}
		if err != nil {
			return
		}
		if summary.Bytes > uint64(len(data)) {
			t.Fatal("read more than there is")
		}
		for _, p := range parts {
			if len(p.name) > MaxNameBytes {
				t.Fatal("a name of", len(p.name))
			}
		}
	})
}
