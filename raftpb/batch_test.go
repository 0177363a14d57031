package raftpb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
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
		b.Add(SessionFields{i << 40, i, i / 2}, []byte(fmt.Sprint("command ", i)))
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
		sessions, steps := rapid.Bool().Draw(t, "sessions"), rapid.Bool().Draw(t, "steps")
		var fieldsOf []SessionFields
		var builder Builder
		var sessionBuilder SessionBuilder
		builder.Reset(nil)
		sessionBuilder.Reset(nil)
		for i, command := range commands {
			builder.Add(command)
			fields := SessionFields{Client: uint64(i), Series: uint64(i) * 1000, Responded: 5}
			if steps {
				fields = SessionFields{Client: 1 << 50, Series: 9 + uint64(i), Responded: uint64(i) / 5}
			}
			if i%7 == 0 {
				fields = SessionFields{}
			}
			fieldsOf = append(fieldsOf, fields)
			sessionBuilder.Add(fields, command)
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
			if !bytes.Equal(it.Command(), commands[i]) || sessions && it.Session() != fieldsOf[i] {
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
