package raftpb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/internal/invariant"
)

var testOrigin = Origin{Replica: 1, Session: 2, Sequence: 3}

// testBatch seals a batch of count commands of varying length for shard 7.
func testBatch(count int) (Batch, [][]byte) {
	var b Builder
	b.Reset(nil)
	commands := make([][]byte, count)
	for i := range commands {
		commands[i] = bytes.Repeat([]byte{byte(i)}, i%200)
		b.Add(commands[i])
	}
	return b.Seal(7, KindCommands, testOrigin, 4), commands
}

// sessionBatch seals a batch of count entries with session fields.
func sessionBatch(count int) Batch {
	var b SessionBuilder
	b.Reset(nil)
	for i := range uint64(count) {
		b.Add(i<<40, i, i/2, []byte(fmt.Sprint("command ", i)))
	}
	return b.Seal(7, KindCommands, testOrigin, 0)
}

func stamped(b Batch, term, first uint64) Batch {
	b.Stamp(term, first)
	return b
}

func readCommands(t testing.TB, b Batch) [][]byte {
	t.Helper()
	var commands [][]byte
	it := b.Iterator()
	for it.Next() {
		if len(it.Command()) != cap(it.Command()) {
			t.Fatalf("command has capacity %d, want its length %d", cap(it.Command()), len(it.Command()))
		}
		commands = append(commands, it.Command())
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
	return commands
}

func checkCommands(t testing.TB, b Batch, want [][]byte) {
	t.Helper()
	commands := readCommands(t, b)
	if len(commands) != len(want) {
		t.Fatalf("%d commands, want %d", len(commands), len(want))
	}
	for i := range commands {
		if !bytes.Equal(commands[i], want[i]) {
			t.Fatalf("command %d is %x, want %x", i, commands[i], want[i])
		}
	}
}

func mustParse(t testing.TB, b Batch) {
	t.Helper()
	if _, err := ParseBatch(b); err != nil {
		t.Fatal(err)
	}
	if err := b.Verify(); err != nil {
		t.Fatal(err)
	}
}

func TestBuildParseIterate(t *testing.T) {
	b, commands := testBatch(500)
	mustParse(t, b)
	if err := b.VerifyEntries(); err != nil {
		t.Fatal(err)
	}
	checkCommands(t, b, commands)
	if b.Term() != 0 || b.First() != 0 {
		t.Fatal("a sealed batch is stamped", b)
	}
	b.Stamp(4, 100)
	mustParse(t, b)
	if b.First() != 100 || b.Last() != 599 || b.Term() != 4 || b.ExpectedTerm() != 4 || b.ShardID() != 7 ||
		b.Kind() != KindCommands || b.Flags() != 0 || b.Count() != 500 {
		t.Fatal("fields of the header are wrong:", b)
	}
	if want := (Origin{Replica: 1, Session: 2, Sequence: 3, Count: 500}); b.Origin() != want {
		t.Fatalf("origin %+v, want %+v", b.Origin(), want)
	}
	if int(b.StoredLength()) != len(b.Body()) || b.StoredLength() != b.PlainLength() {
		t.Fatal("lengths are wrong:", b)
	}
}

// TestHeaderLayout holds the header against bytes written by hand: a changed layout needs a new version.
func TestHeaderLayout(t *testing.T) {
	var builder Builder
	builder.Reset(bytes.Repeat([]byte{0xff}, 200)) // dirty
	builder.Add([]byte("hello"))
	b := builder.Seal(0x0807060504030201, KindCommands,
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

func TestBuilderReuse(t *testing.T) {
	var b Builder
	buf := make([]byte, 0, 1024)
	for round := range 3 {
		b.Reset(buf)
		if b.Count() != 0 || b.Size() != HeaderSize {
			t.Fatal("count and size after Reset", b.Count(), b.Size())
		}
		for range round + 1 {
			b.Add([]byte("abc"))
		}
		if b.Count() != round+1 || b.Size() != HeaderSize+4*(round+1) {
			t.Fatal("count and size", b.Count(), b.Size())
		}
		batch := b.Seal(1, KindCommands, Origin{}, 0)
		mustParse(t, batch)
		if &batch[0] != &buf[:1][0] {
			t.Fatal("the batch does not alias the arena")
		}
	}
}

func TestSealRefusesNonsense(t *testing.T) {
	for name, seal := range map[string]func(){
		"no entries":    func() { var b Builder; b.Reset(nil); b.Seal(1, KindCommands, Origin{}, 0) },
		"without Reset": func() { var b Builder; b.Seal(1, KindCommands, Origin{}, 0) },
		"sealed twice": func() {
			var b Builder
			b.Reset(nil)
			b.Add(nil)
			b.Seal(1, KindCommands, Origin{}, 0)
			b.Seal(1, KindCommands, Origin{}, 0)
		},
		"piece beyond its origin": func() {
			SealArena(make([]byte, HeaderSize+2), 2, 1, KindCommands, Origin{Piece: 9, Count: 10}, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if _, ok := recover().(invariant.Violation); !ok {
					t.Fatal("no violation")
				}
			}()
			seal()
		})
	}
}

func TestSessions(t *testing.T) {
	b := sessionBatch(100)
	mustParse(t, b)
	if b.Flags() != FlagSessions {
		t.Fatal("flags", b.Flags())
	}
	it := b.Iterator()
	for i := range uint64(100) {
		if !it.Next() {
			t.Fatal(it.Err())
		}
		clientID, series, responded := it.Session()
		if clientID != i<<40 || series != i || responded != i/2 || string(it.Command()) != fmt.Sprint("command ", i) {
			t.Fatal("entry", i, "is", clientID, series, responded, string(it.Command()))
		}
	}
	if it.Next() || it.Err() != nil {
		t.Fatal("more entries, or an error:", it.Err())
	}
	plain, _ := testBatch(3)
	it = plain.Iterator()
	it.Next()
	if clientID, series, responded := it.Session(); clientID|series|responded != 0 {
		t.Fatal("session fields without FlagSessions")
	}
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
			return put32(offPlainLength, 39)(b)
		}, true, ErrBadBatch, "plain length: 39, want at least 40 for 10 entries"},
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

func TestCompress(t *testing.T) {
	b, commands := testBatch(500)
	body := bytes.Clone(b.Body())
	c := b.Compress(0)
	mustParse(t, c)
	if c.Flags() != FlagCompressed || len(c) >= len(b) || c.plainCRC() != b.plainCRC() || c.Origin() != b.Origin() {
		t.Fatal("compressed batch is", c)
	}
	c.Stamp(4, 100)
	if err := c.VerifyEntries(); !errors.Is(err, ErrNotPlain) {
		t.Fatal("iteration of a compressed batch:", err)
	}
	for _, buf := range [][]byte{nil, make([]byte, 10), make([]byte, 0, 2*len(b))} {
		p, err := c.Plain(buf)
		if err != nil {
			t.Fatal(err)
		}
		mustParse(t, p)
		checkCommands(t, p, commands)
		if !bytes.Equal(p.Body(), body) || p.First() != 100 || p.Term() != 4 || p.Flags() != 0 {
			t.Fatal("plain batch is", p)
		}
		if cap(buf) >= len(b) && &p[0] != &buf[:1][0] {
			t.Fatal("the buffer is not used")
		}
	}
	if same := c.Compress(0); &same[0] != &c[0] {
		t.Fatal("compressed twice")
	}
	if same := b.Compress(len(body) + 1); &same[0] != &b[0] {
		t.Fatal("compressed below the threshold")
	}
	if same, err := b.Plain(nil); err != nil || &same[0] != &b[0] {
		t.Fatal("Plain of a plain batch copies:", err)
	}
	noOp := NewNoOp(7)
	if same := noOp.Compress(0); &same[0] != &noOp[0] {
		t.Fatal("compressed although it does not help")
	}
}

// TestCompressRepetitive has bodies that would shrink by more than receivers accept.
func TestCompressRepetitive(t *testing.T) {
	for _, size := range []int{200, 5000, 100_000, 4 << 20} {
		var builder Builder
		builder.Reset(nil)
		builder.Add(make([]byte, size))
		c := builder.Seal(7, KindCommands, Origin{}, 0).Compress(0)
		mustParse(t, c)
		if c.Flags() != FlagCompressed {
			t.Fatal("not compressed at size", size)
		}
		p, err := c.Plain(nil)
		if err != nil {
			t.Fatal(err)
		}
		checkCommands(t, p, [][]byte{make([]byte, size)})
	}
}

func TestPlainRefuses(t *testing.T) {
	b, _ := testBatch(500)
	reseal := func(c Batch) Batch {
		c = c.Clone()
		binary.LittleEndian.PutUint32(c[offStoredLength:], uint32(len(c)-HeaderSize))
		c.seal()
		return c
	}
	c := b.Compress(0)
	wrongPlainCRC := c.Clone()
	wrongPlainCRC[offPlainCRC] ^= 1
	wrongLength := c.Clone()
	wrongLength[offPlainLength] ^= 1
	damaged := c.Clone()
	damaged[HeaderSize+20] ^= 0xff
	for _, test := range []struct {
		name string
		b    Batch
		err  error
		text string
	}{
		{"omitted body", c.WithoutBody(), ErrNotPlain, "omitted"},
		{"plain checksum", reseal(wrongPlainCRC), ErrBodyChecksum, "plain body"},
		{"plain length", reseal(wrongLength), ErrBadBatch, "want the plain length"},
		{"cut off", reseal(c[:len(c)-3]), ErrBadBatch, "corrupt"},
		{"no block", reseal(c[:HeaderSize]), ErrBadBatch, "corrupt"},
		{"damaged block", reseal(damaged), nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.b.Plain(nil)
			if err == nil || test.err != nil && !errors.Is(err, test.err) || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("error %v, want %v with %q", err, test.err, test.text)
			}
		})
	}
}

func TestWithoutBody(t *testing.T) {
	b, _ := testBatch(20)
	b.Stamp(4, 100)
	h := b.WithoutBody()
	mustParse(t, h)
	if len(h) != HeaderSize || h.Flags() != FlagBodyOmitted || len(h.Body()) != 0 ||
		h.StoredLength() != b.StoredLength() || h.storedCRC() != b.storedCRC() || h.Last() != b.Last() || h.Origin() != b.Origin() {
		t.Fatal("header is", h)
	}
	if err := h.VerifyEntries(); !errors.Is(err, ErrNotPlain) {
		t.Fatal("iteration of an omitted body:", err)
	}
	mustParse(t, b) // unchanged
	piece, err := h.Cut(105, 110)
	if err != nil {
		t.Fatal(err)
	}
	mustParse(t, piece)
	if piece.First() != 105 || piece.Last() != 110 || piece.Origin().Piece != 5 || piece.Flags() != FlagBodyOmitted {
		t.Fatal("piece is", piece)
	}
	if same := h.Compress(0); &same[0] != &h[0] {
		t.Fatal("compressed nothing")
	}
}

func TestCutRefuses(t *testing.T) {
	b, _ := testBatch(10)
	if _, err := b.Cut(0, 0); !errors.Is(err, ErrBadBatch) || !strings.Contains(err.Error(), "not stamped") {
		t.Fatal("unstamped:", err)
	}
	b.Stamp(4, 100)
	for _, r := range [][2]uint64{{99, 105}, {100, 110}, {105, 104}, {0, 0}, {200, 300}} {
		if _, err := b.Cut(r[0], r[1]); !errors.Is(err, ErrBadBatch) || !strings.Contains(err.Error(), "within 100 to 109") {
			t.Fatal("range", r, err)
		}
	}
	b[len(b)-1] ^= 1
	if _, err := b.Cut(101, 102); !errors.Is(err, ErrBodyChecksum) {
		t.Fatal("damaged:", err)
	}
}

// TestCutKeepsOriginAndCommands cuts at random, and cuts the pieces again: every piece holds the commands of its range and
// names its place in the original, which is what completions go by.
func TestCutKeepsOriginAndCommands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		commands := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 40).Draw(t, "commands")
		sessions := rapid.Bool().Draw(t, "sessions")
		var builder Builder
		var sessionBuilder SessionBuilder
		builder.Reset(nil)
		sessionBuilder.Reset(nil)
		for i, command := range commands {
			builder.Add(command)
			sessionBuilder.Add(uint64(i), uint64(i)*1000, 5, command)
		}
		b := builder.Seal(7, KindCommands, testOrigin, 0)
		if sessions {
			b = sessionBuilder.Seal(7, KindCommands, testOrigin, 0)
		}
		if rapid.Bool().Draw(t, "compress") {
			b = b.Compress(0)
		}
		const first = 1000
		b.Stamp(9, first)
		before := b.Clone()
		piece := b
		for range rapid.IntRange(1, 3).Draw(t, "cuts") {
			from := rapid.Uint64Range(piece.First(), piece.Last()).Draw(t, "from")
			to := rapid.Uint64Range(from, piece.Last()).Draw(t, "to")
			next, err := piece.Cut(from, to)
			if err != nil {
				t.Fatal(err)
			}
			if next.First() != from || next.Last() != to || next.Term() != 9 || next.ShardID() != 7 {
				t.Fatal("piece is", next)
			}
			piece = next
		}
		if _, err := ParseBatch(piece); err != nil {
			t.Fatal(err)
		}
		skipped := uint32(piece.First() - first)
		want := Origin{Replica: 1, Session: 2, Sequence: 3, Piece: skipped, Count: uint32(len(commands))}
		if piece.Origin() != want {
			t.Fatalf("origin %+v, want %+v", piece.Origin(), want)
		}
		plain, err := piece.Plain(nil)
		if err != nil {
			t.Fatal(err)
		}
		it := plain.Iterator()
		for i := int(skipped); it.Next(); i++ {
			clientID, series, _ := it.Session()
			if !bytes.Equal(it.Command(), commands[i]) || sessions && (clientID != uint64(i) || series != uint64(i)*1000) {
				t.Fatal("entry", i, "of the original is wrong")
			}
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
		if !bytes.Equal(b, before) {
			t.Fatal("cutting changed the batch")
		}
	})
}

func TestNoOpAndMembership(t *testing.T) {
	noOp := NewNoOp(7)
	mustParse(t, noOp)
	if noOp.Kind() != KindNoOp || noOp.Count() != 1 || len(noOp) != HeaderSize+1 {
		t.Fatal("no-op is", noOp)
	}
	checkCommands(t, noOp, [][]byte{{}})
	if _, err := noOp.Membership(); !errors.Is(err, ErrBadBatch) {
		t.Fatal("membership of a no-op:", err)
	}
	want := testMembership()
	b := NewMembership(7, want)
	mustParse(t, b)
	b.Stamp(3, 55)
	got, err := b.Membership()
	if err != nil {
		t.Fatal(err)
	}
	want.ID = 55
	if fmt.Sprint(got) != fmt.Sprint(want) || b.Kind() != KindMembership || b.Count() != 1 {
		t.Fatalf("membership %v, want %v", got, want)
	}
	if _, err := b.WithoutBody().Membership(); !errors.Is(err, ErrNotPlain) {
		t.Fatal("membership without a body:", err)
	}
	bad := SealArena(AppendEntry(make([]byte, HeaderSize), []byte{0xff}), 1, 7, KindMembership, Origin{}, 0)
	if _, err := bad.Membership(); !errors.Is(err, ErrBadRecord) {
		t.Fatal("malformed membership:", err)
	}
}
