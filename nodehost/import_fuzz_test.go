package nodehost_test

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// exportedFile is a small snapshot of shard 1.
func exportedFile(f *testing.F, compress bool) []byte {
	f.Helper()
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, raftpb.SnapshotMeta{
		ShardID: 1, ReplicaID: 2, Index: 9, Term: 3, Kind: raftpb.SnapshotMemory,
		Config: raftpb.ConfigRecord{Index: 4, Membership: raftpb.Membership{ID: 4, Members: []raftpb.Member{
			{ReplicaID: 2, Kind: raftpb.Voter, Address: "old:1"},
		}}},
	}, snapshot.WriterOptions{Compress: compress, BlockBytes: 32})
	if err != nil {
		f.Fatal(err)
	}
	state, err := w.State()
	if err == nil {
		_, err = state.Write(bytes.Repeat([]byte("state "), 20))
	}
	if err == nil {
		_, err = w.Close()
	}
	if err != nil {
		f.Fatal(err)
	}
	return file.Bytes()
}

// Whatever a file holds that is to be imported: it is a whole snapshot of the shard, or it is refused and nothing is changed, so that another one
// can be imported.
func FuzzImport(f *testing.F) {
	good := exportedFile(f, false)
	f.Add(good)
	f.Add(exportedFile(f, true))
	f.Add(good[:len(good)-1])
	f.Add(append(bytes.Clone(good), 0))
	f.Add([]byte{})
	for _, at := range []int{0, 9, 20, 60, len(good) / 2, len(good) - 20} {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fs := vfs.NewMem()
		writeFile(t, fs, "/bad", data)
		writeFile(t, fs, "/good", good)
		options := nodehost.ImportOptions{
			Dir: "/host", Address: "host:1", File: "/bad", ShardID: 1, ReplicaID: 7, Members: map[uint64]string{7: "host:1"}, FS: fs,
		}
		imported, err := nodehost.ImportSnapshot(options)
		summary, fault := snapshot.Verify(bytes.NewReader(data), nil)
		if err == nil {
			if fault != nil || summary.Meta.ShardID != 1 || summary.Meta.Index != imported.Summary.Meta.Index {
				t.Fatalf("%+v was imported, and is %+v, %v", imported, summary, fault)
			}
			return
		}
		options.File = "/good"
		if _, err := nodehost.ImportSnapshot(options); err != nil {
			t.Fatalf("after a file was refused: %v", err)
		}
	})
}

func writeFile(t *testing.T, fs vfs.FS, path string, data []byte) {
	t.Helper()
	file, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = file.Write(bytes.Clone(data)) // it may change what it is given
	}
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}
