package seglog

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/logdb"
)

const troubledShards = 16

// beginLanes makes a store with three lanes of a host in which all shards have so many batches, and returns in which lane each shard is.
func beginLanes(t *testing.T, files vfs.FS, owner uint64, batches uint64) (lanes []int) {
	t.Helper()
	l := openOwnLanes(t, files, owner)
	for index := range batches {
		saveInLanes(t, l, index+1, troubledShards)
	}
	lanes = lanePlaces(l, troubledShards)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return lanes
}

func openOwnLanes(t *testing.T, files vfs.FS, owner uint64) *Lanes {
	t.Helper()
	options := manualLanes(files, "b", "c")
	options.Owner = owner
	l, err := OpenLanes(options)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func copyDirectory(t *testing.T, from, to vfs.FS, source, target string) {
	t.Helper()
	if err := errors.Join(to.RemoveAll(target), to.MkdirAll(target, 0o755)); err != nil {
		t.Fatal(err)
	}
	names, err := from.List(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name != lockName {
			writeFile(t, to, to.PathJoin(target, name), readFile(t, from, from.PathJoin(source, name)))
		}
	}
}

// Directories that were exchanged, with each other or with those of another host, are refused, and the error says which and what it is.
func TestExchangedLanesAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(files, other vfs.FS)
		want   error
		names  string
	}{
		"two lanes": {func(files, _ vfs.FS) {
			copyDirectory(t, files, files, "b", "kept")
			copyDirectory(t, files, files, "c", "b")
			copyDirectory(t, files, files, "kept", "c")
		}, ErrLanes, "b is to be lane 1, and is what is left of lane 2"},
		"a lane with the first": {func(files, _ vfs.FS) {
			copyDirectory(t, files, files, "b", "kept")
			copyDirectory(t, files, files, "log", "b")
			copyDirectory(t, files, files, "kept", "log")
		}, ErrLanes, "log is to be the first, and is lane 1"},
		"a lane twice":    {func(files, _ vfs.FS) { copyDirectory(t, files, files, "b", "c") }, ErrLanes, "c is to be lane 2, and is what is left of lane 1"},
		"with a stranger": {func(files, other vfs.FS) { copyDirectory(t, other, files, "c", "c") }, ErrOwner, "seglog: c: "},
	} {
		t.Run(name, func(t *testing.T) {
			files, other := vfs.NewMem(), vfs.NewMem()
			beginLanes(t, files, 7, 1)
			beginLanes(t, other, 8, 1)
			test.change(files, other)
			options := manualLanes(files, "b", "c")
			options.Owner = 7
			l, err := OpenLanes(options)
			if err == nil {
				_ = l.Close()
			}
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.names) {
				t.Errorf("%v, want %v and %q", err, test.want, test.names)
			}
		})
	}
}

// A lane that was put back from an older copy opens: its shards are as they were then, which is what promises are remembered for outside the store (R14), and
// those of the other lanes have all.
func TestALaneFromAnOlderCopyConcernsItsShards(t *testing.T) {
	files, older := vfs.NewMem(), vfs.NewMem()
	beginLanes(t, files, 7, 2)
	copyDirectory(t, files, older, "b", "b")
	l := openOwnLanes(t, files, 7)
	saveInLanes(t, l, 3, troubledShards)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	copyDirectory(t, older, files, "b", "b")
	l = openOwnLanes(t, files, 7)
	for i, lane := range lanePlaces(l, troubledShards) {
		want := uint64(3)
		if lane == 1 {
			want = 2
		}
		if stored, err := l.Load(logdb.ReplicaKey{ShardID: uint64(i + 1), ReplicaID: 1}); err != nil || stored.Last != want {
			t.Errorf("shard %d in lane %d: %+v, %v, want the log up to %d", i+1, lane, stored, err, want)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// Damage in one lane whose owners cannot be read concerns those who have a hole there, and nobody in another lane.
func TestDamageInALaneConcernsItsShards(t *testing.T) {
	files := vfs.NewMem()
	lanes := beginLanes(t, files, 7, 3)
	l := openOwnLanes(t, files, 7) // the batches are in sealed segments now
	saveInLanes(t, l, 4, troubledShards)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := files.List("b")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, segmentSuffix) })
	content := readFile(t, files, "b/"+names[0])
	clear(content[blockSize:]) // the header stays
	writeFile(t, files, "b/"+names[0], content)
	l = openOwnLanes(t, files, 7)
	for i, lane := range lanes {
		stored, err := l.Load(logdb.ReplicaKey{ShardID: uint64(i + 1), ReplicaID: 1})
		if lane == 1 && (!errors.Is(err, logdb.ErrDamaged) || !strings.Contains(err.Error(), names[0])) {
			t.Errorf("shard %d in the damaged lane: %+v, %v", i+1, stored, err)
		}
		if lane != 1 && (err != nil || stored.Last != 4) {
			t.Errorf("shard %d in lane %d: %+v, %v", i+1, lane, stored, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// A device that does not give back what is read from it keeps the store from opening, and the error says which; when it fails so later, logs in its
// lane cannot be read and the others can.
func TestADeviceThatCannotBeRead(t *testing.T) {
	broken := false
	files := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken && strings.HasPrefix(op.Path, "b/") && (op.Kind == errorfs.OpFileReadAt || op.Kind == errorfs.OpOpen) {
			return &fs.PathError{Op: "read", Path: op.Path, Err: syscall.EIO}
		}
		return nil
	}))
	lanes := beginLanes(t, files, 7, 3)
	broken = true
	if l, err := OpenLanes(manualLanes(files, "b", "c")); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "b/") {
		t.Errorf("opened: %v, %v", l, err)
	}
	broken = false
	l := openOwnLanes(t, files, 7)
	broken = true
	for i, lane := range lanes {
		stored, err := l.Load(logdb.ReplicaKey{ShardID: uint64(i + 1), ReplicaID: 1})
		if lane == 1 && (!errors.Is(err, syscall.EIO) || errors.Is(err, logdb.ErrDamaged)) || lane != 1 && (err != nil || stored.Last != 3) {
			t.Errorf("shard %d in lane %d: %+v, %v", i+1, lane, stored, err)
		}
	}
	broken = false
	saveInLanes(t, l, 4, troubledShards) // reading in vain is no failed write
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// The lanes of a store that was moved as a whole are found, and so are those of which only the first was moved.
func TestLaneDirectoriesOfAMovedStore(t *testing.T) {
	for name, test := range map[string]struct {
		moves map[string]string
		dir   string
		want  []string
	}{
		"where it was": {nil, "host/log", []string{"host/b", "devices/c"}},
		"all of it":    {map[string]string{"host": "backup/host", "devices": "backup/devices"}, "backup/host/log", []string{"backup/host/b", "backup/devices/c"}},
		"not one lane": {map[string]string{"host": "backup/host"}, "backup/host/log", []string{"backup/host/b", "devices/c"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := vfs.NewMem()
			options := Options{FS: files, Dir: "host/log", Directories: []string{"host/b", "devices/c"}, SegmentBytes: MinSegmentBytes, Manual: true}
			l, err := OpenLanes(options)
			if err != nil {
				t.Fatal(err)
			}
			saveInLanes(t, l, 1, troubledShards)
			if err := errors.Join(l.Close(), files.MkdirAll("backup", 0o755)); err != nil {
				t.Fatal(err)
			}
			for from, to := range test.moves {
				if err := files.Rename(from, to); err != nil {
					t.Fatal(err)
				}
			}
			options.Dir = test.dir
			if options.Directories, err = LaneDirectories(files, test.dir); err != nil || !slices.Equal(options.Directories, test.want) {
				t.Fatalf("%q, %v, want %q", options.Directories, err, test.want)
			}
			if l, err = OpenLanes(options); err != nil {
				t.Fatal(err)
			}
			if keys, err := l.List(); err != nil || len(keys) != troubledShards {
				t.Errorf("%d shards, %v", len(keys), err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
