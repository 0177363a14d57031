package raftpb

import (
	"bytes"
	"errors"
	"strings"
	"testing"
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
