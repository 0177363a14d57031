package kv

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/flotilla-raft/flotilla/rsm"
)

func TestCommands(t *testing.T) {
	m := New()
	long := bytes.Repeat([]byte("k"), MaxKeyBytes+1)
	for i, c := range []struct {
		command []byte
		want    Outcome
	}{
		{Put([]byte("a"), []byte("1")), Outcome{Changed: true}},
		{Put([]byte("a"), []byte("2")), Outcome{Existed: true, Changed: true}},
		{PutIfAbsent([]byte("a"), []byte("3")), Outcome{Existed: true, Current: []byte("2")}},
		{PutIfAbsent([]byte("b"), []byte{}), Outcome{Changed: true}},
		{CompareAndSet([]byte("a"), []byte("x"), []byte("4")), Outcome{Existed: true, Current: []byte("2")}},
		{CompareAndSet([]byte("a"), []byte("2"), []byte("4")), Outcome{Existed: true, Changed: true}},
		{CompareAndSet([]byte("b"), nil, []byte("5")), Outcome{Existed: true, Changed: true}},
		{CompareAndSet([]byte("c"), nil, []byte("5")), Outcome{}},
		{CompareAndDelete([]byte("a"), []byte("2")), Outcome{Existed: true, Current: []byte("4")}},
		{CompareAndDelete([]byte("a"), []byte("4")), Outcome{Existed: true, Changed: true}},
		{Delete([]byte("a")), Outcome{}},
		{Delete([]byte("b")), Outcome{Existed: true, Changed: true}},
		{Put([]byte{}, []byte("1")), Outcome{Refused: true}},
		{Put(long, []byte("1")), Outcome{Refused: true}},
		{Put(long[1:], []byte("1")), Outcome{Changed: true}},
		{nil, Outcome{Refused: true}},
		{[]byte("\x02\x01ab"), Outcome{Refused: true}},
		{[]byte("\x09\x01a"), Outcome{Refused: true}},
		{[]byte("\x04\x01a\x05b"), Outcome{Refused: true}},
		{[]byte("\x01\x81\x00a"), Outcome{Refused: true}},
	} {
		entries := []rsm.Entry{{Index: uint64(i + 1), Command: c.command}}
		if err := m.Update(entries); err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
		if got := OutcomeOf(entries[0].Result); !reflect.DeepEqual(got, c.want) {
			t.Errorf("command %d: %+v, want %+v", i, got, c.want)
		}
	}
	if sum, _ := m.Checksum(); sum == 0 || m.sum.Count != 1 {
		t.Errorf("sum %+v", m.sum)
	}
}

func TestQueries(t *testing.T) {
	m := New()
	for i := range 2500 {
		if err := m.Update([]rsm.Entry{{Command: Put(fmt.Appendf(nil, "%04d", i), fmt.Append(nil, i))}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		query Range
		want  string
	}{
		{Range{}, "0000 to 0999 of 1000, more"},
		{Range{From: "2400"}, "2400 to 2499 of 100"},
		{Range{From: "0100", To: "0200"}, "0100 to 0199 of 100"},
		{Range{From: "0100", To: "0200", Limit: 100}, "0100 to 0199 of 100"},
		{Range{From: "0100", To: "0200", Limit: 99}, "0100 to 0198 of 99, more"},
		{Range{From: "0099\x00", Limit: 1}, "0100 to 0100 of 1, more"},
		{Range{Limit: -1}, "0000 to 2499 of 2500"},
		{Range{From: "3"}, "nothing"},
		{Range{From: "2", To: "1"}, "nothing"},
	} {
		answer, err := m.Lookup(c.query)
		if err != nil {
			t.Fatal(err)
		}
		p := answer.(Page)
		got := "nothing"
		if n := len(p.Items); n > 0 {
			got = fmt.Sprintf("%s to %s of %d", p.Items[0].Key, p.Items[n-1].Key, n)
		}
		if p.More {
			got += ", more"
		}
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.query, got, c.want)
		}
	}
	if size, err := m.Lookup(Size{}); err != nil || size != uint64(2500) {
		t.Errorf("size %v, %v", size, err)
	}
	if _, err := m.Lookup("0001"); !errors.Is(err, ErrQuery) || !strings.Contains(err.Error(), "string") {
		t.Errorf("a query of another kind: %v", err)
	}
}

// What decodes is encoded as it was, and nothing that is proposed fails a machine.
func FuzzCommand(f *testing.F) {
	f.Add(Put([]byte("key"), []byte("value")))
	f.Add(Delete([]byte("key")))
	f.Add(PutIfAbsent([]byte("key"), nil))
	f.Add(CompareAndSet([]byte("key"), []byte("old"), []byte("new")))
	f.Add(CompareAndDelete([]byte("key"), []byte("old")))
	f.Add([]byte("\x04\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		command, err := Decode(data)
		switch {
		case err != nil && !errors.Is(err, ErrBadCommand):
			t.Fatal(err)
		case err == nil && !bytes.Equal(command.Append(nil), data):
			t.Fatalf("%x is %+v, which is %x", data, command, command.Append(nil))
		}
		entries := []rsm.Entry{{Index: 1, Command: data}}
		if failure := New().Update(entries); failure != nil || OutcomeOf(entries[0].Result).Refused != (err != nil) {
			t.Fatalf("%v, result %+v, decodes with %v", failure, entries[0].Result, err)
		}
	})
}
