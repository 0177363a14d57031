package seglog

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// The ordinals of a replica's records within one group end at 65,535; those behind share the last one. They are all there after a restart, and if
// one of them is lost that is noticed: the batches do not follow each other any more.
func TestMoreRecordsInAGroupThanOrdinals(t *testing.T) {
	const batches, lost = 66_500, 66_000
	key := logdb.ReplicaKey{ShardID: 1, ReplicaID: 1}
	memory := vfs.NewMem()
	options := manual(memory)
	options.SegmentBytes = 32 << 20
	s, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	commitGroup(t, s, func(group logdb.Group) {
		for index := uint64(1); index <= batches; index++ {
			err := group.Save(&raftpb.Save{ShardID: 1, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(1, 1, index, 1, 8)}})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := group.Save(&raftpb.Save{ShardID: 2, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(2, 1, 1, 1, 8)}}); err != nil {
			t.Fatal(err)
		}
	})
	if groups := s.Counters().Groups; groups != 1 {
		t.Fatalf("%d groups", groups)
	}
	name := s.order[len(s.order)-1].name
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole := readFile(t, memory, "log/"+name)
	for _, harm := range []bool{false, true} {
		if harm {
			content := bytes.Clone(whole)
			at := bytes.Index(content, logdbtest.Batch(1, 1, lost, 1, 8))
			if at < 0 {
				t.Fatal("the batch is not there")
			}
			start := at - recordHeaderSize - 1
			clear(content[start : start+recordHeaderSize]) // nobody can tell whose it was
			memory = vfs.NewMem()
			if err := memory.MkdirAll("log", 0o755); err != nil {
				t.Fatal(err)
			}
			writeFile(t, memory, "log/"+name, content)
			writeFile(t, memory, "log/"+formatName, encodeFormat(0))
		}
		options.FS = memory
		s, err := Open(options)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := s.Load(key)
		switch {
		case harm && !errors.Is(err, logdb.ErrDamaged):
			t.Errorf("without one of its records: %+v, %v", stored, err)
		case !harm && (err != nil || stored.Last != batches):
			t.Errorf("%+v, %v", stored, err)
		}
		if stored, err := s.Load(logdb.ReplicaKey{ShardID: 2, ReplicaID: 1}); err != nil || stored.Last != 1 {
			t.Errorf("the neighbour: %+v, %v", stored, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
