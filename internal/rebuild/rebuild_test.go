package rebuild

import (
	"bytes"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// memoryPromises is a record of promises.
type memoryPromises map[logdb.ReplicaKey]raft.Promised

func (p memoryPromises) Promised(key logdb.ReplicaKey) raft.Promised { return p[key] }

func (p memoryPromises) Record(records []engine.PromiseRecord) error {
	for _, r := range records {
		if p[r.Key] = r.Promised; r.Forgotten {
			delete(p, r.Key)
		}
	}
	return nil
}

func (p memoryPromises) Replicas() (keys []logdb.ReplicaKey) {
	for key := range p {
		keys = append(keys, key)
	}
	return keys
}

func newStores(t *testing.T) *Stores {
	t.Helper()
	files := vfs.NewMem()
	if err := files.MkdirAll("host", 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := seglog.Open(seglog.Options{FS: files, Dir: "log", SegmentBytes: seglog.MinSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	directory, err := snapshot.OpenDirectory(files, "snapshots")
	if err != nil {
		t.Fatal(err)
	}
	return &Stores{FS: files, Dir: "host", Log: log, Snapshots: directory, Promises: memoryPromises{}}
}

// exported is a snapshot of shard 1 up to entry 10 of term 3.
func exported(t *testing.T) []byte {
	t.Helper()
	var file bytes.Buffer
	writer, err := snapshot.NewWriter(&file, raftpb.SnapshotMeta{
		ShardID: 1, ReplicaID: 1, Index: 10, Term: 3, Kind: raftpb.SnapshotMemory,
		Config: raftpb.ConfigRecord{Index: 1, Membership: raftpb.Membership{ID: 1, Members: []raftpb.Member{{ReplicaID: 1, Kind: raftpb.Voter, Incarnation: 5, Address: "a"}}}},
	}, snapshot.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// imported imports a snapshot, and returns the term and incarnation that the replica begins with.
func imported(t *testing.T, s *Stores, file []byte, recovery uint64) (term, incarnation uint64) {
	t.Helper()
	act := Import{
		ShardID: 1, ReplicaID: 1, Members: map[uint64]string{1: "a"}, Recovery: recovery,
		File: func(_ uint64, read func(io.Reader) error) error { return read(bytes.NewReader(file)) },
	}
	if _, _, err := act.Verify(); err != nil {
		t.Fatal(err)
	}
	if err := act.Decide(s); err != nil {
		t.Fatal(err)
	}
	if err := s.FinishImport(); err != nil {
		t.Fatal(err)
	}
	stored, err := s.Log.Load(logdb.ReplicaKey{ShardID: 1, ReplicaID: 1})
	if err != nil {
		t.Fatal(err)
	}
	return stored.State.Term, stored.Bootstrap.Incarnation
}

// A snapshot that is imported a second time begins above the terms of the shard that it began the first time: else the two would write entries of
// the same term at the same index.
func TestASecondImportBeginsAboveTheFirst(t *testing.T) {
	s, file := newStores(t), exported(t)
	first, incarnation := imported(t, s, file, 1)
	if want := uint64(3 + raft.RebuiltTerms); first != want {
		t.Errorf("the first begins in term %d, want %d", first, want)
	}
	second, another := imported(t, s, file, 2)
	if want := first + raft.RebuiltTerms; second != want || another == incarnation {
		t.Errorf("the second begins in term %d as %x, want %d, and another incarnation than %x", second, another, want, incarnation)
	}
	if again, same := imported(t, s, file, 2); again != second || same != another { // as after a crash in the midst
		t.Errorf("done twice it begins in term %d as %x, want %d as %x", again, same, second, another)
	}
}
