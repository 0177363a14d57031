package raftpb

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestMalformedBodies has bodies whose checksums are right and whose entries are not.
func TestMalformedBodies(t *testing.T) {
	for _, test := range []struct {
		name  string
		flags Flags
		count uint32
		body  []byte
		text  string
	}{
		{"too few entries", 0, 3, []byte{0, 1, 7}, "no entry length (1 entries to come)"},
		{"too many bytes", 0, 1, []byte{0, 1, 7}, "2 bytes after the last entry"},
		{"length beyond the end", 0, 1, []byte{3, 7, 7}, "entry length 3 exceeds the 2 bytes left"},
		{"long length beyond the end", 0, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, "exceeds"},
		{"unfinished length", 0, 2, []byte{0, 0x80}, "no entry length"},
		{"overlong length", 0, 1, bytes.Repeat([]byte{0xff}, 11), "no entry length"},
		{"unfinished session", FlagSessions, 1, []byte{1, 1, 0x80, 0x80}, "no session field"},
		{"session without a length", FlagSessions, 1, []byte{1, 1, 0xff, 1}, "no entry length"},
	} {
		t.Run(test.name, func(t *testing.T) {
			arena := append(make([]byte, HeaderSize), test.body...)
			b := stamped(sealArena(arena, test.count, test.flags, 7, KindCommands, Origin{}, 0), 1, 10)
			mustParse(t, b)
			err := b.VerifyEntries()
			if !errors.Is(err, ErrBadBatch) || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("error %v, want %q", err, test.text)
			}
			it := b.Iterator()
			for it.Next() {
			}
			if it.Next() || it.Err() == nil || it.Command() != nil {
				t.Fatal("the iterator goes on after an error")
			}
			if test.count > 1 {
				if _, err := b.Cut(10, 10); !errors.Is(err, ErrBadBatch) {
					t.Fatal("cut of a malformed batch:", err)
				}
			}
		})
	}
}

// Client IDs of eight bytes are compared with the last one rather than decoded; what stands between two of them changes nothing.
func TestSessionFieldsOfManyClients(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type fields struct{ client, series, responded uint64 }
		ids := []uint64{0, 1, 127, 128, 1<<49 - 1, 1 << 49, 1<<49 + 1, 1<<56 - 1, 1 << 56, 1<<64 - 1}
		var want []fields
		var builder SessionBuilder
		builder.Reset(nil)
		for range rapid.IntRange(1, 20).Draw(t, "entries") {
			f := fields{rapid.SampledFrom(ids).Draw(t, "client"), rapid.SampledFrom(ids).Draw(t, "series"), rapid.SampledFrom(ids).Draw(t, "responded")}
			builder.Add(f.client, f.series, f.responded, make([]byte, rapid.IntRange(0, 12).Draw(t, "length")))
			want = append(want, f)
		}
		iterator := builder.Seal(1, KindCommands, Origin{}, 0).Iterator()
		for i := range want {
			if !iterator.Next() {
				t.Fatal(iterator.Err())
			}
			var got fields
			if got.client, got.series, got.responded = iterator.Session(); got != want[i] {
				t.Fatalf("entry %d has %+v, want %+v", i, got, want[i])
			}
		}
		if iterator.Next() || iterator.Err() != nil {
			t.Fatal("more entries, or an error:", iterator.Err())
		}
	})
}
