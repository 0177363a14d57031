package raftpb

import (
	"bytes"
	"errors"
	"slices"
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
		{"no session", FlagSessions, 2, []byte{0, 2, 7, 7}, "no session field"},
		{"unfinished session", FlagSessions, 1, []byte{1, 1, 0x80, 0x80}, "no session field"},
		{"session without a length", FlagSessions, 1, []byte{1, 1, 0xff, 1, 0}, "no entry length"},
		{"session without a client", FlagSessions, 1, []byte{1, 0, 1, 0, 0}, "a session without a client"},
		{"step from nowhere", FlagSessions, 2, []byte{0, 0, 2, 0}, "a session's next call without one before it"},
		{"long step from nowhere", FlagSessions, 1, []byte{0x82, 1, 0}, "a session's next call without one before it"},
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

// Calls that follow those of their client take a byte, others their fields; whatever stands between two of them changes nothing.
func TestSessionFieldsOfManyClients(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := []uint64{1, 127, 128, 1<<56 - 1, 1<<64 - 1}
		steps := []uint64{0, 1, 125, 126, 127, 300}
		var want []SessionFields
		var builder SessionBuilder
		builder.Reset(nil)
		last := map[uint64]SessionFields{}
		for range rapid.IntRange(1, 20).Draw(t, "entries") {
			f := SessionFields{Client: rapid.SampledFrom(ids[:rapid.IntRange(1, len(ids)).Draw(t, "clients")]).Draw(t, "client")}
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				f = SessionFields{}
			case 1:
				f.Series, f.Responded = rapid.SampledFrom(ids).Draw(t, "series"), rapid.SampledFrom(ids).Draw(t, "responded")
			default:
				f.Series, f.Responded = last[f.Client].Series+1, last[f.Client].Responded+rapid.SampledFrom(steps).Draw(t, "step")
			}
			last[f.Client] = f
			builder.Add(f, make([]byte, rapid.IntRange(0, 12).Draw(t, "length")))
			want = append(want, f)
		}
		batch := builder.Seal(1, KindCommands, Origin{}, 0)
		checkFields(t, batch, want)
		from := rapid.IntRange(0, len(want)-1).Draw(t, "from")
		to := rapid.IntRange(from, len(want)-1).Draw(t, "to")
		piece, err := stamped(batch, 1, 10).Cut(10+uint64(from), 10+uint64(to))
		if err != nil {
			t.Fatal(err)
		}
		checkFields(t, piece, want[from:to+1])
	})
}

func checkFields(t *rapid.T, batch Batch, want []SessionFields) {
	iterator := batch.Iterator()
	for i := range want {
		if !iterator.Next() {
			t.Fatal(iterator.Err())
		}
		if got := iterator.Session(); got != want[i] {
			t.Fatalf("entry %d has %+v, want %+v", i, got, want[i])
		}
	}
	if iterator.Next() || iterator.Err() != nil {
		t.Fatal("more entries, or an error:", iterator.Err())
	}
}

// What a session costs on wire and disk: a byte for each call but the first.
func TestACallThatFollowsTakesAByteMore(t *testing.T) {
	var builder SessionBuilder
	builder.Reset(nil)
	var sizes []int
	for _, f := range []SessionFields{{1 << 50, 1000, 800}, {1 << 50, 1001, 801}, {1 << 50, 1002, 926}, {}, {1 << 50, 1003, 926}, {1 << 50, 1005, 926}} {
		before := builder.Size()
		builder.Add(f, []byte("c"))
		sizes = append(sizes, builder.Size()-before)
	}
	if want := []int{15, 3, 3, 3, 3, 14}; !slices.Equal(sizes, want) {
		t.Fatal("entries take", sizes, "bytes, want", want)
	}
}
