package pebblelog_test

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
)

// A store is begun only where there is none, of its own kind or another: an empty one would have forgotten what the old one promised.
func TestOnlyAnEmptyDirectoryIsBegun(t *testing.T) {
	for _, test := range []struct {
		name string
		file string // in a directory without a database
		want error
	}{
		{"another store", "FORMAT", logdb.ErrOtherStore},
		{"a lost manifest", "000004.log", logdb.ErrDamaged},
		{"a lost database", "000007.sst", logdb.ErrDamaged},
		{"a crash while it was made", "MANIFEST-000001", nil},
		{"a crash before that", "temporary.000001.dbtmp", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			memory := vfs.NewMem()
			if err := memory.MkdirAll("log/lost+found", 0o755); err != nil {
				t.Fatal(err)
			}
			file, err := memory.Create("log/"+test.file, vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
			db, err := pebblelog.Open(pebblelog.Options{FS: memory, Dir: "log", MemtableBytes: pebblelog.MinMemtableBytes})
			if !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			if err == nil {
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				return
			}
			if names, err := memory.List("log"); err != nil || len(names) != 2 {
				t.Errorf("left behind: %v, %v", names, err)
			}
		})
	}
}
