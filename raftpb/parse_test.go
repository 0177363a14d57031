package raftpb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
)

// TestHeaderLayout holds the header against bytes written by hand: a changed layout needs a new version.
func TestHeaderLayout(t *testing.T) {
	dirty := bytes.Repeat([]byte{0xff}, HeaderSize)
	b := SealArena(AppendEntry(dirty, []byte("hello")), 1, 0x0807060504030201, KindCommands,
		Origin{Replica: 0x11, Session: 0x12, Sequence: 0x13, Piece: 0x14, Count: 0x20}, 0x15)
	b.Stamp(0x16, 0x17)
	want := []byte{
		1, 1, 0, 0, 1, 0, 0, 0,
		1, 2, 3, 4, 5, 6, 7, 8,
		0x16, 0, 0, 0, 0, 0, 0, 0,
		0x17, 0, 0, 0, 0, 0, 0, 0,
		0x11, 0, 0, 0, 0, 0, 0, 0,
		0x12, 0, 0, 0, 0, 0, 0, 0,
		0x13, 0, 0, 0, 0, 0, 0, 0,
		0x14, 0, 0, 0, 0x20, 0, 0, 0,
		0x15, 0, 0, 0, 0, 0, 0, 0,
		6, 0, 0, 0, 6, 0, 0, 0,
		0x9d, 0xed, 0xec, 0xd5, 0x9d, 0xed, 0xec, 0xd5,
		0, 0, 0, 0, 0x13, 0xdb, 0xdb, 0x2f,
		5, 'h', 'e', 'l', 'l', 'o',
	}
	if !bytes.Equal(b, want) {
		t.Fatalf("batch is\n%x, want\n%x", []byte(b), want)
	}
	mustParse(t, b)
}

// TestParseBatchRefuses changes one field of a good header at a time. Where sealed is set the header's checksum is made
// good again, as a forger would.
func TestParseBatchRefuses(t *testing.T) {
	put32 := func(offset int, value uint32) func(Batch) Batch {
		return func(b Batch) Batch { binary.LittleEndian.PutUint32(b[offset:], value); return b }
	}
	put64 := func(offset int, value uint64) func(Batch) Batch {
		return func(b Batch) Batch { binary.LittleEndian.PutUint64(b[offset:], value); return b }
	}
	put8 := func(offset int, value byte) func(Batch) Batch {
		return func(b Batch) Batch { b[offset] = value; return b }
	}
	for _, test := range []struct {
		name   string
		change func(Batch) Batch
		sealed bool
		err    error
		text   string
	}{
		{"empty", func(Batch) Batch { return nil }, false, ErrBadBatch, "length: 0 bytes, want at least the header's 96"},
		{"short header", func(b Batch) Batch { return b[:95] }, false, ErrBadBatch, "length: 95 bytes"},
		{"short body", func(b Batch) Batch { return b[:len(b)-1] }, false, ErrBadBatch, "want exactly"},
		{"long body", func(b Batch) Batch { return append(b, 0) }, false, ErrBadBatch, "want exactly"},
		{"version", put8(offVersion, 2), true, ErrBadBatch, "version: 2, want 1"},
		{"damaged term", put8(offTerm, 77), false, ErrHeaderChecksum, "computed"},
		{"damaged checksum", put32(offHeaderCRC, 1), false, ErrHeaderChecksum, "stored 00000001"},
		{"kind 0", put8(offKind, 0), true, ErrBadBatch, "kind: 0, want 1 to 5"},
		{"kind 6", put8(offKind, 6), true, ErrBadBatch, "kind: 6, want 1 to 5"},
		{"flags", put8(offFlags, 8), true, ErrBadBatch, "flags: 0x8, want only bits of 0x7"},
		{"reserved", put8(offReserved, 1), true, ErrBadBatch, "reserved: 0x1 and 0x0"},
		{"reserved at the end", put32(offReserved2, 2), true, ErrBadBatch, "reserved: 0x0 and 0x2"},
		{"count 0", put32(offCount, 0), true, ErrBadBatch, "count: 0, want 1 to 16777216"},
		{"count too large", put32(offCount, MaxBatchEntries+1), true, ErrBadBatch, "count: 16777217"},
		{"term without index", put64(offFirst, 0), true, ErrBadBatch, "term and first index: 4 and 0"},
		{"index without term", put64(offTerm, 0), true, ErrBadBatch, "term and first index: 0 and 100"},
		{"last index overflows", put64(offFirst, math.MaxUint64-5), true, ErrBadBatch, "first index: 18446744073709551610"},
		{"piece", put32(offPiece, 1), true, ErrBadBatch, "origin count: 10, want at least 11"},
		{"origin count", put32(offOriginCount, 9), true, ErrBadBatch, "origin count: 9, want at least 10"},
		{"plain length huge", put32(offPlainLength, MaxPlainLength+1), true, ErrBadBatch, "plain length: 134217729"},
		{"plain length tiny", put32(offPlainLength, 9), true, ErrBadBatch, "plain length: 9, want at least 10 for 10 entries"},
		{"session fields do not fit", func(b Batch) Batch {
			b[offFlags] = byte(FlagSessions)
			return put32(offPlainLength, 19)(b)
		}, true, ErrBadBatch, "plain length: 19, want at least 20 for 10 entries"},
		{"stored length", put32(offStoredLength, 11), true, ErrBadBatch, "stored length: 11, want the plain"},
		{"stored checksum", put32(offStoredCRC, 5), true, ErrBadBatch, "stored checksum: 00000005, want the plain"},
		{"expansion", func(b Batch) Batch {
			b[offFlags] = byte(FlagCompressed)
			return put32(offPlainLength, b.StoredLength()*MaxExpansion+1)(b)
		}, true, ErrBadBatch, "at most 64 times the stored"},
		{"stored length of a compressed body", func(b Batch) Batch {
			b[offFlags] = byte(FlagCompressed)
			return put32(offStoredLength, MaxPlainLength+1)(b)
		}, true, ErrBadBatch, "stored length: 134217729, want at most"},
		{"omitted body that is there", put8(offFlags, byte(FlagBodyOmitted)), true, ErrBadBatch, "want exactly 96"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, _ := testBatch(10)
			b.Stamp(4, 100)
			mustParse(t, b)
			b = test.change(b)
			if test.sealed {
				b.seal()
			}
			_, err := ParseBatch(b)
			if !errors.Is(err, test.err) || !errors.Is(err, ErrBadBatch) || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("error %v, want %v with %q", err, test.err, test.text)
			}
			if _, _, next := NextBatch(b); (next == nil) != (test.name == "long body" || test.name == "omitted body that is there") {
				t.Fatal("NextBatch:", next)
			}
		})
	}
}

// TestEveryBitIsCovered flips each bit of a batch.
func TestEveryBitIsCovered(t *testing.T) {
	b, _ := testBatch(5)
	b.Stamp(4, 100)
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		_, err := ParseBatch(b)
		if err == nil {
			err = b.Verify()
		}
		want := ErrBodyChecksum
		if i/8 < HeaderSize {
			want = ErrBadBatch
		}
		if !errors.Is(err, want) {
			t.Fatalf("bit %d of byte %d: error %v, want %v", i%8, i/8, err, want)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	mustParse(t, b)
}

func TestNextBatch(t *testing.T) {
	first, _ := testBatch(3)
	second := NewNoOp(8)
	third := first.WithoutBody()
	data := bytes.Join([][]byte{first, second, third}, nil)
	for _, want := range []Batch{first, second, third} {
		b, rest, err := NextBatch(data)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, want) || cap(b) != cap(data) {
			t.Fatalf("batch %s with capacity %d, want %s with %d", b, cap(b), want, cap(data))
		}
		data = rest
	}
	if len(data) != 0 {
		t.Fatal("bytes are left:", len(data))
	}
}
