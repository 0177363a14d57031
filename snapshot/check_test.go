package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// pushed checks data in pieces of the given sizes, the last of which goes on.
func pushed(data []byte, sizes ...int) (Summary, error) {
	check := NewCheck()
	for i := 0; len(data) > 0; i++ {
		n := min(len(data), max(1, sizes[min(i, len(sizes)-1)]))
		if taken, err := check.Write(data[:n]); err != nil {
			break
		} else if taken != n {
			return Summary{}, fmt.Errorf("%d of %d bytes were taken", taken, n)
		}
		data = data[n:]
	}
	return check.Close()
}

// agree compares a check with Verify. Which of two faults is named may differ where the reader meets it in another order.
func agree(t rapid.TB, data []byte, sizes ...int) {
	t.Helper()
	want, wantErr := Verify(bytes.NewReader(data), nil)
	got, err := pushed(data, sizes...)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("check says %v, the reader %v", err, wantErr)
	}
	if err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("check found %+v, the reader %+v", got, want)
	}
	for _, sentinel := range []error{ErrForeign, ErrVersion, ErrTruncated} {
		if errors.Is(wantErr, sentinel) && !errors.Is(err, sentinel) {
			t.Fatalf("check says %v, the reader %v", err, wantErr)
		}
	}
}

// Whatever the bytes and their pieces, a check and a reader agree: on what is whole, and on what is damaged, cut off, or longer.
func TestCheckAgreesWithTheReader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var parts []part
		if rapid.Bool().Draw(t, "sessions") {
			parts = append(parts, part{kind: KindSessions, text: "sessions of clients"})
		}
		if rapid.Bool().Draw(t, "state") {
			parts = append(parts, part{kind: KindState, text: string(rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "text"))})
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "files") {
			parts = append(parts, part{KindFile, fmt.Sprint("file ", i), string(rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "content"))})
		}
		var file bytes.Buffer
		writeParts(t, &file, WriterOptions{Compress: rapid.Bool().Draw(t, "compress"), BlockBytes: rapid.IntRange(1, 200).Draw(t, "block")}, parts)
		sizes := rapid.SliceOfN(rapid.IntRange(1, 300), 1, 5).Draw(t, "sizes")
		agree(t, file.Bytes(), sizes...)
		data := bytes.Clone(file.Bytes())
		switch rapid.IntRange(0, 2).Draw(t, "fault") {
		case 0:
			data[rapid.IntRange(0, len(data)-1).Draw(t, "place")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case 1:
			data = data[:rapid.IntRange(0, len(data)-1).Draw(t, "length")]
		case 2: // what a reader does not look at
			if _, err := pushed(append(data, 0), sizes...); !errors.Is(err, ErrDamaged) {
				t.Fatalf("a byte behind the footer: %v", err)
			}
			return
		}
		agree(t, data, sizes...)
	})
}

// The metadata are known as soon as the header is whole, so that a foreign snapshot is refused before its state has come.
func TestCheckKnowsTheMetadataEarly(t *testing.T) {
	var file bytes.Buffer
	writeParts(t, &file, WriterOptions{}, []part{{kind: KindState, text: "state"}})
	check := NewCheck()
	for i, b := range file.Bytes() {
		_, before := check.Meta()
		if _, err := check.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
		if meta, known := check.Meta(); known && !before {
			if fmt.Sprint(meta) != fmt.Sprint(testMeta()) {
				t.Errorf("metadata %+v", meta)
			}
			if i > file.Len()/2+fixedHeader {
				t.Errorf("known after %d of %d bytes", i+1, file.Len())
			}
		}
	}
	if _, known := check.Meta(); !known {
		t.Error("never known")
	}
}

func FuzzCheck(f *testing.F) {
	for _, compress := range []bool{false, true} {
		var file bytes.Buffer
		writeParts(f, &file, WriterOptions{Compress: compress, BlockBytes: 20}, []part{
			{kind: KindSessions, text: "s"}, {kind: KindState, text: "some state that is longer than a block"}, {KindFile, "a", ""}, {KindFile, "b", "content"},
		})
		f.Add(file.Bytes(), 7)
		f.Add(file.Bytes()[:file.Len()-3], 1)
	}
	f.Add([]byte(magic), 3)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		// The reader decompresses and a check does not, so only this direction holds for what no writer wrote.
		if _, err := Verify(bytes.NewReader(data), nil); err == nil {
			if summary, err := pushed(data, size); err != nil && int(summary.Bytes) == len(data) {
				t.Fatalf("the reader takes what the check refuses: %v", err)
			}
		}
		_, _ = pushed(data, size)
	})
}
