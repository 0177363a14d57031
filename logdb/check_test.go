package logdb_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// TestLoaderRefuses: each way in which stored batches can fail to fit together is damage.
func TestLoaderRefuses(t *testing.T) {
	key := logdb.ReplicaKey{ShardID: 1, ReplicaID: 2}
	flipped := bytes.Clone(logdbtest.Batch(1, 2, 11, 2, 10))
	flipped[len(flipped)-1] ^= 1
	tests := map[string][][]byte{
		"gap behind what was compacted": {logdbtest.Batch(1, 2, 12, 1, 10)},
		"within what was compacted":     {logdbtest.Batch(1, 2, 9, 2, 10)},
		"gap":                           {logdbtest.Batch(1, 2, 11, 1, 10), logdbtest.Batch(1, 2, 13, 1, 10)},
		"overlap":                       {logdbtest.Batch(1, 2, 11, 2, 10), logdbtest.Batch(1, 2, 12, 1, 10)},
		"term below the compacted one":  {logdbtest.Batch(1, 1, 11, 1, 10)},
		"falling term":                  {logdbtest.Batch(1, 3, 11, 1, 10), logdbtest.Batch(1, 2, 12, 1, 10)},
		"another shard":                 {logdbtest.Batch(2, 2, 11, 1, 10)},
		"unstamped":                     {raftpb.NewNoOp(1)},
		"body":                          {flipped},
		"garbage":                       {[]byte("garbage")},
		"nothing":                       {nil},
	}
	for name, batches := range tests {
		loader := logdb.NewLoader(key, 10, 2)
		var err error
		for i, batch := range batches {
			if err != nil {
				t.Fatalf("%s: batch %d was refused: %v", name, i-1, err)
			}
			_, err = loader.Add(batch)
		}
		if !errors.Is(err, logdb.ErrDamaged) {
			t.Errorf("%s: error %v, want ErrDamaged", name, err)
		}
	}
}

// TestLoaderBuildsTerms: the first batch may begin within what was compacted.
func TestLoaderBuildsTerms(t *testing.T) {
	loader := logdb.NewLoader(logdb.ReplicaKey{ShardID: 1, ReplicaID: 2}, 10, 2)
	for _, batch := range []raftpb.Batch{
		logdbtest.Batch(1, 2, 9, 4, 10), logdbtest.Batch(1, 2, 13, 1, 10), logdbtest.Batch(1, 5, 14, 2, 10),
	} {
		if _, err := loader.Add(batch); err != nil {
			t.Fatal(err)
		}
	}
	want := []raftpb.TermStart{{Term: 2, First: 11}, {Term: 5, First: 14}}
	if len(loader.Terms) != 2 || loader.Terms[0] != want[0] || loader.Terms[1] != want[1] || loader.Last != 15 {
		t.Errorf("terms %v, last %d", loader.Terms, loader.Last)
	}
}
