package inspect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"github.com/flotilla-raft/flotilla/raftpb"
)

var key = logdb.ReplicaKey{ShardID: 7, ReplicaID: 2}

func commit(t *testing.T, db logdb.LogDB, fill func(logdb.Group) error) {
	t.Helper()
	group := db.NewGroup()
	if err := fill(group); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	db.Commit([]logdb.Group{group}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func commands(first uint64, compress bool, texts ...string) raftpb.Batch {
	var builder raftpb.Builder
	builder.Reset(nil)
	for _, text := range texts {
		builder.Add([]byte(text))
	}
	b := builder.Seal(key.ShardID, raftpb.KindCommands, raftpb.Origin{Replica: 2, Session: 9, Sequence: first}, 0)
	if compress {
		b = b.Compress(0)
	}
	b.Stamp(3, first)
	return b
}

// store returns a log of a membership, five commands, one of them compacted, and headers without bodies at the end.
func store(t *testing.T) logdb.LogDB {
	t.Helper()
	db, err := pebblelog.Open(pebblelog.Options{Dir: "log", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	membership := raftpb.Membership{Members: []raftpb.Member{{ReplicaID: 2, Kind: raftpb.Voter, Incarnation: 5, Address: "host:1"}}}
	first := raftpb.NewMembership(key.ShardID, membership)
	first.Stamp(3, 1)
	decoded, err := first.Membership()
	if err != nil {
		t.Fatal(err)
	}
	save := &raftpb.Save{
		ShardID: key.ShardID, ReplicaID: key.ReplicaID, Number: 1, MustSync: true,
		Bootstrap: &raftpb.Bootstrap{Incarnation: 5, Complete: true},
		State:     raftpb.HardState{Term: 4, Vote: 2, Commit: 5}, StateChanged: true,
		Batches: []raftpb.Batch{
			first, commands(2, false, "two"), commands(3, true, strings.Repeat("three", 50), "four"), commands(5, false, "five"),
			commands(6, false, "six").WithoutBody(),
		},
		Configs: []raftpb.ConfigRecord{{Index: 1, Membership: decoded}},
	}
	commit(t, db, func(g logdb.Group) error { return g.Save(save) })
	commit(t, db, func(g logdb.Group) error {
		g.Compact(key, 1, 3)
		return g.Save(&raftpb.Save{
			ShardID: 8, ReplicaID: 1, Number: 1, Bootstrap: &raftpb.Bootstrap{Incarnation: 6, Join: true}, MustSync: true,
		})
	})
	return db
}

func TestAllReadsEverything(t *testing.T) {
	calls := 0
	replicas, err := All(context.Background(), store(t), func(done, of int, bytes int64) {
		calls++
		if done > of || of != 2 {
			t.Errorf("%d of %d", done, of)
		}
	})
	if err != nil || len(replicas) != 2 || calls < 2 {
		t.Fatal(replicas, calls, err)
	}
	r := &replicas[0]
	if r.Key != key || r.Batches != 4 || r.Entries != 5 || r.Bytes == 0 || len(r.Damage) != 0 || r.Stored.Compacted != 1 {
		t.Fatalf("%+v", r)
	}
	if last := r.LastTerm(); last != 3 { // the term of an entry, not that of the last vote
		t.Errorf("the last entry is of term %d, want 3", last)
	}
	if m, ok := r.Membership(); !ok || m.ID != 1 || len(m.Members) != 1 {
		t.Fatal(m, ok)
	}
	if _, ok := replicas[1].Membership(); ok || replicas[1].Entries != 0 {
		t.Fatalf("%+v", replicas[1])
	}
}

func TestEntries(t *testing.T) {
	db := store(t)
	var got []string
	visit := func(e Entry) bool {
		got = append(got, fmt.Sprintf("%d/%d %s %.5s", e.Index, e.Term, e.Kind, e.Command))
		return len(got) < 4
	}
	if err := Entries(context.Background(), db, key, 2, 6, visit); err != nil {
		t.Fatal(err)
	}
	if want := "[2/3 commands two 3/3 commands three 4/3 commands four 5/3 commands five]"; fmt.Sprint(got) != want {
		t.Fatal(got)
	}
	got = nil
	if err := Entries(context.Background(), db, key, 4, 6, visit); err != nil || fmt.Sprint(got) != "[4/3 commands four 5/3 commands five 6/3 commands ]" {
		t.Fatal(got, err)
	}
	for _, test := range []struct {
		from, to uint64
		want     error
	}{{1, 3, logdb.ErrCompacted}, {3, 7, logdb.ErrUnavailable}, {5, 4, logdb.ErrUnavailable}} {
		if err := Entries(context.Background(), db, key, test.from, test.to, visit); !errors.Is(err, test.want) {
			t.Errorf("%d to %d: %v, want %v", test.from, test.to, err, test.want)
		}
	}
	if err := Entries(context.Background(), db, logdb.ReplicaKey{ShardID: 9, ReplicaID: 9}, 1, 1, visit); !errors.Is(err, logdb.ErrNotFound) {
		t.Error(err)
	}
}

// broken is a store that answers wrongly.
type broken struct {
	logdb.LogDB
	load func(*raftpb.Stored) error
	read func([]raftpb.Batch) ([]raftpb.Batch, error)
}

func (b broken) Load(key logdb.ReplicaKey) (raftpb.Stored, error) {
	stored, err := b.LogDB.Load(key)
	if err == nil && b.load != nil {
		err = b.load(&stored)
	}
	return stored, err
}

func (b broken) Read(key logdb.ReplicaKey, from, to uint64, maxBytes int, into []raftpb.Batch) ([]raftpb.Batch, error) {
	batches, err := b.LogDB.Read(key, from, to, maxBytes, into)
	if err == nil && b.read != nil {
		return b.read(batches)
	}
	return batches, err
}

var errDisk = errors.New("disk")

// TestAllReportsDamage has one store for each check: take the check out and its case fails.
func TestAllReportsDamage(t *testing.T) {
	for _, test := range []struct {
		name, text string
		broken     broken
	}{
		{"load", "load: disk", broken{load: func(*raftpb.Stored) error { return errDisk }}},
		{"read", "entries from 2: disk", broken{read: func([]raftpb.Batch) ([]raftpb.Batch, error) { return nil, errDisk }}},
		{"nothing", "entry 2 is not there", broken{read: func([]raftpb.Batch) ([]raftpb.Batch, error) { return nil, nil }}},
		{"gap", "entries 3 to 4 is where entry 2", broken{read: func(b []raftpb.Batch) ([]raftpb.Batch, error) { return b[1:], nil }}},
		{"header", "entries from 2", broken{read: func(b []raftpb.Batch) ([]raftpb.Batch, error) {
			b[0] = b[0].Clone()
			b[0][20] ^= 1
			return b, nil
		}}},
		{"body", "entries 2 to 2", broken{read: func(b []raftpb.Batch) ([]raftpb.Batch, error) {
			b[0] = b[0].Clone()
			b[0][len(b[0])-1] ^= 1
			return b, nil
		}}},
		{"term", "have term 3, the index of terms says 2", broken{load: func(s *raftpb.Stored) error {
			s.Terms, s.CompactedTerm = nil, 2
			return nil
		}}},
		{"membership", "membership of entry 2 is not among", broken{read: func(b []raftpb.Batch) ([]raftpb.Batch, error) {
			b[0] = raftpb.NewMembership(key.ShardID, raftpb.Membership{})
			b[0].Stamp(3, 2)
			return b, nil
		}}},
		{"undecodable membership", "membership at entry 2", broken{read: func(b []raftpb.Batch) ([]raftpb.Batch, error) {
			var builder raftpb.Builder
			builder.Reset(nil)
			builder.Add([]byte("no membership"))
			b[0] = builder.Seal(key.ShardID, raftpb.KindMembership, raftpb.Origin{}, 0)
			b[0].Stamp(3, 2)
			return b, nil
		}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.broken.LogDB = store(t)
			replicas, err := All(context.Background(), test.broken, nil)
			if err != nil || len(replicas) != 2 || len(replicas[0].Damage) == 0 {
				t.Fatal(replicas, err)
			}
			if text := replicas[0].Damage[0].Error(); !strings.Contains(text, test.text) || !strings.Contains(text, "shard 7 replica 2") {
				t.Fatalf("damage %q, want %q", text, test.text)
			}
		})
	}
}

func TestEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errDisk)
	if _, err := All(ctx, store(t), nil); !errors.Is(err, errDisk) {
		t.Error(err)
	}
	if err := Entries(ctx, store(t), key, 2, 5, nil); !errors.Is(err, errDisk) {
		t.Error(err)
	}
}
