package seglog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

func manualLanes(fs vfs.FS, directories ...string) Options {
	options := manual(fs)
	options.Directories = directories
	return options
}

func openLanes(t *testing.T, fs vfs.FS, directories ...string) *Lanes {
	t.Helper()
	l, err := OpenLanes(manualLanes(fs, directories...))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// saveInLanes gives each of the shards another batch, all in one Commit.
func saveInLanes(t *testing.T, l *Lanes, index uint64, shards int) {
	t.Helper()
	group := l.NewGroup()
	for shard := range uint64(shards) {
		save := &raftpb.Save{ShardID: shard + 1, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(shard+1, 1, index, 1, 20)}}
		if err := group.Save(save); err != nil {
			t.Fatal(err)
		}
	}
	done := false
	l.Commit([]logdb.Group{group}, func(err error) {
		if done = true; err != nil {
			t.Fatal(err)
		}
	})
	l.RunOnce(0)
	if !done {
		t.Fatal("not every lane has done its part")
	}
}

func lanePlaces(l *Lanes, shards int) (places []int) {
	for shard := range shards {
		places = append(places, l.laneOf(logdb.ReplicaKey{ShardID: uint64(shard + 1), ReplicaID: 1}))
	}
	return places
}

// Shards are spread over the lanes and stay in theirs, also when there are more.
func TestShardsStayInTheirLanes(t *testing.T) {
	const shards = 64
	memory := vfs.NewMem()
	first, err := Open(manual(memory)) // a store that had one lane
	if err != nil {
		t.Fatal(err)
	}
	saveAll(t, first, &raftpb.Save{ShardID: 1, ReplicaID: 1, MustSync: true, Batches: []raftpb.Batch{logdbtest.Batch(1, 1, 1, 1, 20)}})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	var before []int
	for _, directories := range [][]string{{"b/log"}, {"b/log", "c/log"}, {"elsewhere/log", "c/log"}} {
		if directories[0] == "elsewhere/log" { // the device is mounted somewhere else
			if err := errors.Join(memory.MkdirAll("elsewhere", 0o755), memory.Rename("b/log", "elsewhere/log")); err != nil {
				t.Fatal(err)
			}
		}
		l := openLanes(t, memory, directories...)
		after := lanePlaces(l, shards)
		if before != nil && !slices.Equal(before, after) {
			t.Errorf("%v: lanes of the shards\n%v, before\n%v", directories, after, before)
		}
		if before != nil {
			stored, err := l.Load(logdb.ReplicaKey{ShardID: 2, ReplicaID: 1})
			if err != nil {
				t.Fatal(err)
			}
			saveInLanes(t, l, stored.Last+1, shards)
		} else {
			if after[0] != 0 {
				t.Errorf("the shard that was there is in lane %d", after[0])
			}
			for shard := range uint64(shards) {
				group := l.NewGroup()
				if err := group.Save(&raftpb.Save{ShardID: shard + 1, ReplicaID: 1, MustSync: true,
					Batches: []raftpb.Batch{logdbtest.Batch(shard+1, 1, 1+shardOffset(shard), 1, 20)}}); err != nil {
					t.Fatal(err)
				}
				l.Commit([]logdb.Group{group}, func(err error) {
					if err != nil {
						t.Fatal(err)
					}
				})
			}
			l.RunOnce(0)
			before = lanePlaces(l, shards)
			for lane := range len(directories) + 1 {
				if !slices.Contains(before, lane) {
					t.Errorf("no shard is in lane %d", lane)
				}
			}
		}
		if keys, err := l.List(); err != nil || len(keys) != shards {
			t.Errorf("%d shards, %v", len(keys), err)
		}
		if got, err := LaneDirectories(memory, "log"); err != nil || !slices.Equal(got, directories) {
			t.Errorf("recorded are %q, %v", got, err)
		}
		if space, err := l.Space(); err != nil || space.DiskBytes == 0 || len(space.Segments) < len(directories)+1 {
			t.Errorf("%+v, %v", space, err)
		}
		if m := l.Metrics(); m.Commits == 0 || m.DiskBytes == 0 {
			t.Errorf("%+v", m)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// shardOffset is 1 for the shard that has a batch already.
func shardOffset(shard uint64) uint64 {
	if shard == 0 {
		return 1
	}
	return 0
}

// What is not the lane that it should be is refused, and nothing is begun in its place.
func TestLanesAreRefused(t *testing.T) {
	begin := func() vfs.FS {
		memory := vfs.NewMem()
		l := openLanes(t, memory, "b", "c")
		saveInLanes(t, l, 1, 16)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return memory
	}
	for name, test := range map[string]struct {
		directories []string
		change      func(fs vfs.FS) error
		want        error
	}{
		"as it was":          {[]string{"b", "c"}, nil, nil},
		"one is not named":   {[]string{"b"}, nil, ErrLanes},
		"none is named":      {nil, nil, ErrLanes},
		"in another order":   {[]string{"c", "b"}, nil, ErrLanes},
		"one twice":          {[]string{"b", "b"}, nil, ErrOptions},
		"the first again":    {[]string{"b", "c", "log"}, nil, ErrOptions},
		"one is empty":       {[]string{"b", "c"}, func(fs vfs.FS) error { return fs.RemoveAll("c") }, ErrLanes},
		"one lost its store": {[]string{"b", "c"}, func(fs vfs.FS) error { return fs.Remove("c/" + formatName) }, ErrLanes},
		"a damaged table":    {[]string{"b", "c"}, func(fs vfs.FS) error { return flipByte(fs, "log/"+lanesName, 30) }, logdb.ErrDamaged},
		"another store": {[]string{"b", "c", "d"}, func(fs vfs.FS) error {
			s, err := Open(Options{FS: fs, Dir: "d", Manual: true})
			return errors.Join(err, s.Close())
		}, ErrLanes},
	} {
		t.Run(name, func(t *testing.T) {
			fs := begin()
			if test.change != nil {
				if err := test.change(fs); err != nil {
					t.Fatal(err)
				}
			}
			var db logdb.LogDB
			var err error
			if options := manualLanes(fs, test.directories...); len(test.directories) == 0 {
				db, err = Open(options)
			} else {
				db, err = OpenLanes(options)
			}
			if !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			if err == nil {
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if _, err := Open(manualLanes(vfs.NewMem(), "b")); !errors.Is(err, ErrOptions) {
		t.Errorf("Open with several directories: %v", err)
	}
}

func flipByte(fs vfs.FS, name string, at int64) error {
	file, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	var b [1]byte
	_, err = file.ReadAt(b[:], at)
	b[0] ^= 1
	if err == nil {
		_, err = file.WriteAt(b[:], at)
	}
	return errors.Join(err, file.Close())
}

// A lane that fails is the failure of all, told once; what was committed behind it is not done, whichever lane it is in.
func TestALaneThatFailsIsTheFailureOfAll(t *testing.T) {
	broken := false
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken && strings.HasPrefix(op.Path, "b/") && op.Kind == errorfs.OpFileSyncData {
			return errors.New("injected")
		}
		return nil
	}))
	told := 0
	options := manualLanes(fs, "b")
	options.OnFailure = func(error) { told++ }
	l, err := OpenLanes(options)
	if err != nil {
		t.Fatal(err)
	}
	saveInLanes(t, l, 1, 16)
	broken = true
	var failures []error
	for i := range 3 { // of all lanes, of the one that works, of the other
		group := l.NewGroup()
		for shard := range uint64(16) {
			key := logdb.ReplicaKey{ShardID: shard + 1, ReplicaID: 1}
			if lane := l.laneOf(key); i == 0 || lane == i-1 {
				if err := group.Save(&raftpb.Save{ShardID: key.ShardID, ReplicaID: 1, MustSync: true, StateChanged: true,
					State: raftpb.HardState{Term: uint64(i) + 2, Vote: 1}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		l.Commit([]logdb.Group{group}, func(err error) { failures = append(failures, err) })
	}
	l.RunOnce(0)
	l.RunOnce(0)
	if len(failures) != 3 || slices.ContainsFunc(failures, func(err error) bool { return !errors.Is(err, logdb.ErrFailed) }) || told != 1 {
		t.Errorf("told %d times; %v", told, failures)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); !errors.Is(err, logdb.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

// What OnFailure says holds with several lanes, too: one that failed in the background, without a Commit, left the others' Commits without an error.
func TestOnceAFailureIsToldNoLaneCompletesWithoutAnError(t *testing.T) {
	options := manualLanes(vfs.NewMem(), "b")
	var told error
	options.OnFailure = func(err error) { told = err }
	l, err := OpenLanes(options)
	if err != nil {
		t.Fatal(err)
	}
	saveInLanes(t, l, 1, 16)
	l.stores[1].fail(fmt.Errorf("%w: injected", logdb.ErrFailed))
	if !errors.Is(told, logdb.ErrFailed) {
		t.Fatalf("told %v", told)
	}
	shard := uint64(1)
	for l.laneOf(logdb.ReplicaKey{ShardID: shard, ReplicaID: 1}) != 0 {
		shard++
	}
	group := l.NewGroup()
	if err := group.Save(&raftpb.Save{ShardID: shard, ReplicaID: 1, MustSync: true, StateChanged: true, State: raftpb.HardState{Term: 2, Vote: 1}}); err != nil {
		t.Fatal(err)
	}
	done := false
	l.Commit([]logdb.Group{group}, func(err error) {
		if done = true; !errors.Is(err, logdb.ErrFailed) {
			t.Errorf("the other lane's Commit: %v", err)
		}
	})
	l.RunOnce(0)
	if !done {
		t.Error("the Commit has not ended")
	}
	_ = l.Close() // it says what failed
}

// FuzzLanes: no bytes make the decoder of tables of lanes panic, and what it takes for one is one, byte by byte.
func FuzzLanes(f *testing.F) {
	memory := vfs.NewMem()
	l, err := OpenLanes(manualLanes(memory, "b", "some/where/else"))
	if err != nil {
		f.Fatal(err)
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	for _, directory := range []string{"log", "b"} {
		f.Add(readFile(f, memory, fmt.Sprintf("%s/%s", directory, lanesName)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, directories, err := decodeLanes(data)
		if err != nil && !errors.Is(err, logdb.ErrDamaged) && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
		total := 0
		for _, directory := range directories {
			total += len(directory)
		}
		if err != nil && directories != nil || total > len(data) {
			t.Fatalf("%q, %v", directories, err)
		}
	})
}
