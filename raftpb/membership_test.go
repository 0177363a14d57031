package raftpb

import (
	"errors"
	"fmt"
	"testing"
)

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
	if entry, err := DecodeMembership(readCommands(t, b)[0]); err != nil || entry.ID != 0 {
		t.Fatal("an ID is written before it is known:", entry, err)
	}
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
