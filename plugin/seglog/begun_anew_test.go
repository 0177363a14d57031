package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// A replica that is removed and begun anew within one group is there as the second one, and if damage leaves only what it was before, it is damaged. Records
// behind a Remove are numbered from 0 again, so the first Save had the number of the last and was marked as the last in its place: what was
// left of the former replica was taken for the new one.
func TestBegunAnewInOneGroup(t *testing.T) {
	key := logdb.ReplicaKey{ShardID: 1, ReplicaID: 1}
	former, anew, later := logdbtest.Batch(1, 1, 1, 2, 20), logdbtest.Batch(1, 5, 1, 1, 30), logdbtest.Batch(1, 5, 2, 1, 40)
	for _, more := range []bool{false, true} {
		memory := vfs.NewMem()
		s := openManual(t, memory)
		save := func(g logdb.Group, batch raftpb.Batch) {
			if err := g.Save(&raftpb.Save{ShardID: 1, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{batch}}); err != nil {
				t.Fatal(err)
			}
		}
		saveAll(t, s, &raftpb.Save{ShardID: 2, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(2, 1, 1, 1, 20)}})
		commitGroup(t, s, func(g logdb.Group) {
			save(g, former)
			g.Remove(key)
			save(g, anew)
		})
		last := anew.Last()
		if more {
			commitGroup(t, s, func(g logdb.Group) { save(g, later) })
			last = later.Last()
		}
		segment := s.order[len(s.order)-1]
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		files := contents(t, memory)
		groups := scanSegment(files[segment.name], segment.number, segment.first, 0).groups
		records := groups[1].records
		if len(records) != 3 {
			t.Fatalf("%d records", len(records))
		}
		for lost := range 1 << len(records) {
			damaged := maps.Clone(files)
			damaged[segment.name] = bytes.Clone(files[segment.name])
			for i, record := range records {
				if lost>>i&1 == 1 { // nobody can tell whose it was
					clear(damaged[segment.name][record.operation.offset:][:recordHeaderSize])
				}
			}
			where := fmt.Sprintf("records %03b lost, more behind them %v", lost, more)
			s := openManual(t, imageOf(t, damaged))
			stored, err := s.Load(key)
			whole := err == nil && stored.Last == last && stored.Terms[0].Term == anew.Term()
			switch {
			case lost == 0 && !whole, lost&4 != 0 && whole:
				t.Errorf("%s: %+v, %v", where, stored, err)
			case whole, errors.Is(err, logdb.ErrDamaged):
			case lost == 7 && !more && errors.Is(err, logdb.ErrNotFound): // this is what promises are remembered for elsewhere
			default:
				t.Errorf("%s: it is taken for whole: %+v, %v", where, stored, err)
			}
			if stored, err := s.Load(logdb.ReplicaKey{ShardID: 2, ReplicaID: 1}); err != nil || stored.Last != 1 {
				t.Errorf("%s: the neighbour: %+v, %v", where, stored, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
