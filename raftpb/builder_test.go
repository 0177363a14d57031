package raftpb

import (
	"fmt"
	"testing"

	"github.com/flotilla-raft/flotilla/internal/invariant"
)

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
	var builder SessionBuilder
	builder.Reset(nil)
	builder.Add(SessionFields{1, 300, 2}, []byte("abc"))
	if builder.Count() != 1 || builder.Size() != HeaderSize+10 {
		t.Fatal("count and size", builder.Count(), builder.Size())
	}
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
		if it.Session() != (SessionFields{i << 40, i, i / 2}) || string(it.Command()) != fmt.Sprint("command ", i) {
			t.Fatal("entry", i, "is", it.Session(), string(it.Command()))
		}
	}
	if it.Next() || it.Err() != nil {
		t.Fatal("more entries, or an error:", it.Err())
	}
	plain, _ := testBatch(3)
	it = plain.Iterator()
	it.Next()
	if it.Session() != (SessionFields{}) {
		t.Fatal("session fields without FlagSessions")
	}
}
