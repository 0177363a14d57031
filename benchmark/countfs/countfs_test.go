package countfs_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/benchmark/countfs"
)

func TestEveryWayToSyncIsCounted(t *testing.T) {
	fs := countfs.New(vfs.NewMem())
	check := func(what string, want uint64, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := fs.Syncs(); got != want {
			t.Fatalf("%s: %d syncs counted, want %d", what, got, want)
		}
	}
	check("mkdir", 0, fs.MkdirAll("d", 0o755))
	created, err := fs.Create("d/a", vfs.WriteCategoryUnspecified)
	check("create", 0, err)
	_, err = created.Write([]byte("x"))
	check("write", 0, err)
	check("sync", 1, created.Sync())
	check("sync data", 2, created.SyncData())
	full, err := created.SyncTo(1)
	want := uint64(2)
	if full {
		want++
	}
	check("sync to", want, err)
	check("close", want, created.Close())

	reused, err := fs.ReuseForWrite("d/a", "d/b", vfs.WriteCategoryUnspecified)
	check("reuse", want, err)
	check("sync of a reused file", want+1, reused.Sync())
	opened, err := fs.OpenReadWrite("d/b", vfs.WriteCategoryUnspecified)
	check("open", want+1, err)
	check("sync of an opened file", want+2, opened.SyncData())
	dir, err := fs.OpenDir("d")
	check("open directory", want+2, err)
	check("sync of a directory", want+3, dir.Sync())
	read, err := fs.Open("d/b")
	check("open for reading", want+3, err)
	for _, f := range []vfs.File{reused, opened, dir, read} {
		check("close", want+3, f.Close())
	}
	if fs.Unwrap() == nil {
		t.Fatal("the wrapped file system is not there")
	}
}
