package raftpb

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// testBatch seals a batch of count commands of varying length for shard 7.
func testBatch(count int) (Batch, [][]byte) {
	var b Builder
	b.Reset(nil)
	commands := make([][]byte, count)
	for i := range commands {
		commands[i] = bytes.Repeat([]byte{byte(i)}, i%200)
		b.Add(commands[i])
	}
	return b.Seal(7, KindCommands, Origin{Replica: 1, Session: 2, Sequence: 3}, 4), commands
}

func readCommands(t *testing.T, b Batch) [][]byte {
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

func equalCommands(a, b [][]byte) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d commands, want %d", len(a), len(b))
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return fmt.Errorf("command %d is %x, want %x", i, a[i], b[i])
		}
	}
	return nil
}

func TestBuildParseIterate(t *testing.T) {
	b, commands := testBatch(500)
	parsed, err := ParseBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(parsed.Verify(), parsed.VerifyEntries()); err != nil {
		t.Fatal(err)
	}
	if err := equalCommands(readCommands(t, parsed), commands); err != nil {
		t.Fatal(err)
	}
	b.Stamp(4, 100)
	if _, err := ParseBatch(b); err != nil {
		t.Fatal(err)
	}
	if b.First() != 100 || b.Last() != 599 || b.Term() != 4 || b.ExpectedTerm() != 4 || b.ShardID() != 7 {
		t.Fatal("stamped fields", b.First(), b.Last(), b.Term(), b.ExpectedTerm(), b.ShardID())
	}
	if want := (Origin{Replica: 1, Session: 2, Sequence: 3, Count: 500}); b.Origin() != want {
		t.Fatalf("origin %+v, want %+v", b.Origin(), want)
	}
}
