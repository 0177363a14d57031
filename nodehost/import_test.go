package nodehost_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// resealed makes the checksum in the header of a snapshot fit what the header says.
func resealed(file []byte) []byte {
	end := 16 + int(binary.LittleEndian.Uint32(file[12:]))
	binary.LittleEndian.PutUint32(file[end:], crc32.Checksum(file[:end], crc32.MakeTable(crc32.Castagnoli)))
	return file
}

// exportOf exports shard 1 of a host.
func (c *cluster) exportOf(i int, dir string) string {
	c.t.Helper()
	exported, err := c.shard(i, 1).ExportSnapshot(patient(c.t), dir)
	if err != nil {
		c.t.Fatal(err)
	}
	return exported.Path
}

// numbered returns the members on all hosts of a cluster, numbered from first on.
func (c *cluster) numbered(first uint64) map[uint64]string {
	members := make(map[uint64]string)
	for i, address := range c.addresses {
		members[first+uint64(i)] = address
	}
	return members
}

// startNumbered starts replica id of shard 1 on a host, from what is stored.
func (c *cluster) startNumbered(i int, id uint64, machine rsm.StateMachine) {
	c.t.Helper()
	config := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: id, Members: map[uint64]string{id: c.addresses[i]}}
	if err := c.hosts[i].StartReplica(patient(c.t), config, func(uint64, uint64) (rsm.StateMachine, error) { return machine, nil }); err != nil {
		c.t.Fatal(err)
	}
}

// TestImportToNewHosts restores a shard of three on three hosts that never ran, from what one that is gone has exported.
func TestImportToNewHosts(t *testing.T) {
	lost := newCluster(t, 1)
	lost.start(0)
	lost.mustStartSaved(0, &preparedJournal{}, nil)
	var commands []string
	for i := range 20 {
		commands = append(commands, fmt.Sprint("command ", i))
		lost.propose(0, 1, commands[i])
	}
	file := lost.exportOf(0, t.TempDir())
	lost.propose(0, 1, "after the export")
	lost.stop(0)

	c := newCluster(t, 3)
	for i := range c.hosts {
		imported, err := nodehost.ImportSnapshot(nodehost.ImportOptions{
			Dir: c.dirs[i], Address: c.addresses[i], File: file, ShardID: 1, ReplicaID: uint64(11 + i), Members: c.numbered(11), Recovery: 7,
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(imported.ThrownAway) > 0 || imported.Recovery != 7 || len(imported.Config.Members) != 3 {
			t.Errorf("imported: %+v", imported)
		}
	}
	for i := range c.hosts {
		c.start(i)
		c.startNumbered(i, uint64(11+i), &preparedJournal{})
	}
	c.propose(1, 1, "new")
	for i := range c.hosts {
		if got := slices.Compact(c.read(i, 1)); !slices.Equal(got, append(slices.Clone(commands), "new")) {
			t.Errorf("host %d has %v", i, got)
		}
		members, err := c.shard(i, 1).Members(patient(t))
		if err != nil || len(members.Members) != 3 || members.Members[0].ReplicaID != 11 {
			t.Errorf("host %d knows the members %+v, %v", i, members, err)
		}
	}
	// The membership is also in what the new replicas save themselves.
	again := verified(t, c.exportOf(2, t.TempDir()))
	if got := again.Meta.Config.Membership.Members; len(got) != 3 || got[2].ReplicaID != 13 {
		t.Errorf("a snapshot of the restored shard has the members %+v", got)
	}
}

// TestImportsOfDifferentFilesFindNoQuorum: two hosts were given different snapshots by mistake.
func TestImportsOfDifferentFilesFindNoQuorum(t *testing.T) {
	lost := newCluster(t, 1)
	lost.start(0)
	lost.mustStartSaved(0, &preparedJournal{}, nil)
	c := newCluster(t, 2)
	for i := range c.hosts {
		lost.propose(0, 1, fmt.Sprint("command ", i))
		file := lost.exportOf(0, t.TempDir())
		if _, err := nodehost.ImportSnapshot(nodehost.ImportOptions{
			Dir: c.dirs[i], Address: c.addresses[i], File: file, ShardID: 1, ReplicaID: uint64(11 + i), Members: c.numbered(11), Recovery: 7,
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range c.hosts {
		c.start(i)
		c.startNumbered(i, uint64(11+i), &preparedJournal{})
	}
	// Each has asked the other one often enough when its term would have moved, or its messages were refused.
	c.eventually("messages that do not count", func() bool {
		status, err := c.shard(0, 1).Status(patient(t))
		return err == nil && status.Dropped > 5
	})
	for i := range c.hosts {
		if _, _, led := c.shard(i, 1).Leader(); led {
			t.Errorf("host %d has a leader", i)
		}
	}
}

// tree returns all files below a directory with their contents, but for the file of promises and what only a start writes.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	if err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || filepath.Base(path) == "promises" {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return files
}

func TestImportRefuses(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0)
	c.mustStartSaved(0, &savedJournal{}, nil)
	c.propose(0, 1, "one")
	file := c.exportOf(0, t.TempDir())
	good := nodehost.ImportOptions{
		Dir: c.dirs[0], File: file, ShardID: 1, ReplicaID: 1, Members: map[uint64]string{1: c.addresses[0]}, Force: true,
	}
	if _, err := nodehost.ImportSnapshot(good); !errors.Is(err, nodehost.ErrDirectoryLocked) {
		t.Errorf("into the directory of a running host: %v", err)
	}
	c.stop(0)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.snapshot")
	written := func(change func([]byte) []byte) string {
		if err := os.WriteFile(other, change(bytes.Clone(content)), 0o600); err != nil {
			t.Fatal(err)
		}
		return other
	}
	before := tree(t, c.dirs[0])
	for name, test := range map[string]struct {
		change func(*nodehost.ImportOptions)
		want   error
		says   string
	}{
		"damaged": {func(o *nodehost.ImportOptions) {
			o.File = written(func(b []byte) []byte { b[len(b)-62-2] ^= 1; return b })
		}, snapshot.ErrDamaged, "block 1: checksum"},
		"cut off": {func(o *nodehost.ImportOptions) {
			o.File = written(func(b []byte) []byte { return b[:len(b)-10] })
		}, snapshot.ErrTruncated, "footer"},
		"with bytes behind": {func(o *nodehost.ImportOptions) {
			o.File = written(func(b []byte) []byte { return append(b, 1) })
		}, snapshot.ErrDamaged, "behind the footer"},
		"foreign": {func(o *nodehost.ImportOptions) {
			o.File = written(func([]byte) []byte { return []byte("no snapshot, but long enough to be one") })
		}, snapshot.ErrForeign, other},
		"newer": {func(o *nodehost.ImportOptions) {
			o.File = written(func(b []byte) []byte { b[8]++; return resealed(b) })
		}, snapshot.ErrVersion, other},
		"with a rotten version": {func(o *nodehost.ImportOptions) {
			o.File = written(func(b []byte) []byte { b[8] ^= 0x80; return b })
		}, snapshot.ErrDamaged, "header: checksum"},
		"of a witness": {func(o *nodehost.ImportOptions) {
			o.File = written(func([]byte) []byte {
				var out bytes.Buffer
				w, err := snapshot.NewWriter(&out, raftpb.SnapshotMeta{ShardID: 1, ReplicaID: 1, Index: 2, Term: 1, Kind: raftpb.SnapshotWitness},
					snapshot.WriterOptions{})
				if err == nil {
					_, err = w.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
				return out.Bytes()
			})
		}, nodehost.ErrImportRefused, "of a witness"},
		"of another shard":   {func(o *nodehost.ImportOptions) { o.ShardID = 2 }, nodehost.ErrImportRefused, "it is of shard 1, asked for is 2"},
		"missing":            {func(o *nodehost.ImportOptions) { o.File += "x" }, os.ErrNotExist, file + "x"},
		"without force":      {func(o *nodehost.ImportOptions) { o.Force = false }, nodehost.ErrImportRefused, "replica 1 with a log up to entry"},
		"without a shard":    {func(o *nodehost.ImportOptions) { o.ShardID = 0 }, nodehost.ErrInvalidConfig, "shard 0"},
		"of no member":       {func(o *nodehost.ImportOptions) { o.ReplicaID = 9 }, nodehost.ErrInvalidConfig, "replica 9"},
		"on another address": {func(o *nodehost.ImportOptions) { o.Members = map[uint64]string{1: "elsewhere:1"} }, nodehost.ErrImportRefused, "elsewhere:1"},
		"without a number": {func(o *nodehost.ImportOptions) {
			o.Members = map[uint64]string{1: c.addresses[0], 2: "elsewhere:1"}
		}, nodehost.ErrInvalidConfig, "Recovery"},
		"of two members at one address": {func(o *nodehost.ImportOptions) {
			o.Members, o.Recovery = map[uint64]string{1: c.addresses[0], 2: c.addresses[0]}, 1
		}, nodehost.ErrInvalidConfig, "address of its own"},
		"into nothing": {func(o *nodehost.ImportOptions) { o.Dir = t.TempDir() }, nodehost.ErrNoHost, "identity"},
	} {
		options := good
		test.change(&options)
		if _, err := nodehost.ImportSnapshot(options); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %v and %q", name, err, test.want, test.says)
		}
	}
	after := tree(t, c.dirs[0])
	for path, content := range before {
		if !strings.Contains(path, string(filepath.Separator)+"log"+string(filepath.Separator)) && after[path] != content {
			t.Errorf("%s was changed", path)
		}
	}
	c.start(0)
	c.mustStartSaved(0, &savedJournal{}, nil)
	if got := c.read(0, 1); !slices.Equal(got, []string{"one"}) {
		t.Errorf("what the host had is %v now", got)
	}
}

// importRig is a host in memory with state of shard 1, and a snapshot of that shard that is older.
type importRig struct {
	*cluster
	fs   *vfs.MemFS
	file string
}

const importDir = "/host"

func newImportRig(t *testing.T) *importRig {
	r := &importRig{cluster: newCluster(t, 1), fs: vfs.NewCrashableMem()}
	r.dirs[0] = importDir
	r.on(r.fs)
	r.cluster.start(0)
	r.mustStartSaved(0, &preparedJournal{}, nil)
	r.propose(0, 1, "one")
	r.file = r.exportOf(0, "/export")
	r.propose(0, 1, "two")
	r.snapshot(0)
	r.stop(0)
	return r
}

func (r *importRig) on(fs vfs.FS) {
	r.configure = func(_ int, config *nodehost.Config) { config.FS = fs }
}

func (r *importRig) options(fs vfs.FS, replica uint64) nodehost.ImportOptions {
	return nodehost.ImportOptions{
		Dir: importDir, FS: fs, File: r.file, ShardID: 1, ReplicaID: replica, Members: map[uint64]string{replica: r.addresses[0]}, Force: true,
	}
}

// check starts the host on what is left and says whether the import has happened; anything between is an error.
func (r *importRig) check(t *testing.T, fs vfs.FS, replica uint64) (happened bool, err error) {
	t.Helper()
	r.on(fs)
	host, err := nodehost.New(r.config(0))
	if err != nil {
		return false, err
	}
	r.hosts[0] = host
	defer r.stop(0)
	ctx := patient(t)
	start := func(id uint64) error {
		return host.StartReplica(ctx, nodehost.ReplicaConfig{ShardID: 1, ReplicaID: id},
			func(uint64, uint64) (rsm.StateMachine, error) { return &preparedJournal{}, nil })
	}
	if err := start(replica); err != nil {
		if replica == 1 {
			return false, err
		}
		if err := start(1); err != nil {
			return false, fmt.Errorf("neither the new replica nor the former one: %w", err)
		}
	}
	switch got := r.read(0, 1); {
	case slices.Equal(got, []string{"one", "two"}):
		return false, nil
	case slices.Equal(got, []string{"one"}):
		if got := r.propose(0, 1, "three"); got.Value != 2 {
			return true, fmt.Errorf("the first command after the import is number %d", got.Value)
		}
		return true, nil
	default:
		return false, fmt.Errorf("the host has %v", got)
	}
}

// TestImportCrashes cuts the power before every change of the disk in an import, over a replica of the same number and beside one of another, and keeps
// all, some or none of what was not synced: the host is as it was, or has the import whole.
func TestImportCrashes(t *testing.T) {
	for _, replica := range []uint64{1, 2} {
		t.Run(fmt.Sprint("replica ", replica), func(t *testing.T) {
			r := newImportRig(t)
			type point struct {
				what string
				fs   vfs.FS
			}
			var mu sync.Mutex // the log store changes the disk beside the import
			var points []point
			random := rand.New(rand.NewPCG(replica, 0))
			note := func(what string, arguments ...any) {
				mu.Lock()
				defer mu.Unlock()
				what = fmt.Sprintf("%d: ", len(points)/3) + fmt.Sprintf(what, arguments...)
				for _, kept := range []int{0, 50, 100} {
					points = append(points, point{fmt.Sprintf("%s, %d %% of the rest kept", what, kept),
						r.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: random})})
				}
			}
			fs := errorfs.Wrap(r.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
					note("before call %v of %s", op.Kind, op.Path)
				}
				return nil
			}))
			imported, err := nodehost.ImportSnapshot(r.options(fs, replica))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(imported.ThrownAway, []nodehost.ReplicaName{{ShardID: 1, ReplicaID: 1}}) {
				t.Errorf("thrown away: %v", imported.ThrownAway)
			}
			note("at the end")
			outcomes := map[bool]int{}
			for i, p := range points {
				if testing.Short() && i%5 != 0 && i < len(points)-3 {
					continue
				}
				happened, err := r.check(t, p.fs, replica)
				if err != nil {
					t.Errorf("%s: %v", p.what, err)
				}
				if outcomes[happened]++; i >= len(points)-3 && !happened {
					t.Errorf("%s: it was not durable", p.what)
				}
			}
			if outcomes[false] == 0 || outcomes[true] == 0 {
				t.Errorf("of %d points %d were before and %d after the import", len(points), outcomes[false], outcomes[true])
			}
		})
	}
}

// TestImportFaults fails every change of the disk in an import once, for good from there on: then the same holds.
func TestImportFaults(t *testing.T) {
	r := newImportRig(t)
	fault := errors.New("disk fault")
	for at := 0; ; at++ {
		var calls atomic.Int64 // also those of the log store's own goroutine
		disk := r.fs.CrashClone(vfs.CrashCloneCfg{})
		fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
				return nil
			}
			if calls.Add(1) > int64(at) {
				return fault
			}
			return nil
		}))
		_, err := nodehost.ImportSnapshot(r.options(fs, 1))
		if calls.Load() <= int64(at) && err == nil {
			if happened, err := r.check(t, disk, 1); err != nil || !happened {
				t.Errorf("without a fault: %v, %v", happened, err)
			}
			return
		}
		if testing.Short() && at%5 != 0 {
			continue
		}
		happened, checked := r.check(t, disk.CrashClone(vfs.CrashCloneCfg{}), 1)
		if checked != nil || err == nil && !happened { // what fails while the stores are closed changes nothing any more
			t.Errorf("fault %d: the import said %v, and afterwards: happened %v, %v", at, err, happened, checked)
		}
	}
}
