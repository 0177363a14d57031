package pebblelog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

var damagedKey = logdb.ReplicaKey{ShardID: 7, ReplicaID: 3}

func openInMemory(t *testing.T, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(Options{FS: fs, Dir: "log", MemtableBytes: MinMemtableBytes})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func commit(s *Store, saves ...*raftpb.Save) error {
	group := s.NewGroup()
	for _, save := range saves {
		if err := group.Save(save); err != nil {
			return err
		}
	}
	done := make(chan error, 1)
	s.Commit([]logdb.Group{group}, func(err error) { done <- err })
	return <-done
}

func saveOf(key logdb.ReplicaKey, batches ...raftpb.Batch) *raftpb.Save {
	return &raftpb.Save{ShardID: key.ShardID, ReplicaID: key.ReplicaID, Batches: batches, MustSync: true}
}

// TestDamageIsFoundAndConcernsOneReplica changes what is stored behind the store's back. Another replica is not concerned.
func TestDamageIsFoundAndConcernsOneReplica(t *testing.T) {
	batches := []raftpb.Batch{
		logdbtest.Batch(7, 1, 1, 2, 20), logdbtest.Batch(7, 1, 3, 2, 20), logdbtest.Batch(7, 1, 5, 2, 20),
	}
	second := appendBatchKey(nil, damagedKey, 4)
	flip := func(at int) func(*pebble.DB) error {
		return func(db *pebble.DB) error {
			changed := bytes.Clone(batches[1])
			changed[(at+len(changed))%len(changed)] ^= 4
			return db.Set(second, changed, pebble.Sync)
		}
	}
	flipRecord := func(key []byte) func(*pebble.DB) error {
		return func(db *pebble.DB) error {
			value, closer, err := db.Get(key)
			if err != nil {
				return err
			}
			changed := bytes.Clone(value)
			changed[0] ^= 4
			return errors.Join(closer.Close(), db.Set(key, changed, pebble.Sync))
		}
	}
	config := appendConfigKey(nil, damagedKey, 3)
	tests := []struct {
		name   string
		change func(*pebble.DB) error
		key    []byte // named in the error
		read   bool   // Read finds it too
	}{
		{"header", flip(20), second, true},
		{"body", flip(-1), second, true},
		{"cut off", func(db *pebble.DB) error { return db.Set(second, batches[1][:50], pebble.Sync) }, second, true},
		{"empty", func(db *pebble.DB) error { return db.Set(second, nil, pebble.Sync) }, second, true},
		{"missing", func(db *pebble.DB) error { return db.Delete(second, pebble.Sync) }, appendBatchKey(nil, damagedKey, 6), true},
		{"other batch", func(db *pebble.DB) error { return db.Set(second, batches[2], pebble.Sync) }, second, true},
		{"other shard", func(db *pebble.DB) error {
			return db.Set(second, logdbtest.Batch(8, 1, 3, 2, 20), pebble.Sync)
		}, second, true},
		{"overlap", func(db *pebble.DB) error {
			return db.Set(second, logdbtest.Batch(7, 1, 2, 3, 20), pebble.Sync)
		}, second, true},
		{"falling term", func(db *pebble.DB) error {
			return db.Set(appendBatchKey(nil, damagedKey, 2), logdbtest.Batch(7, 9, 1, 2, 20), pebble.Sync)
		}, second, false},
		{"wrong place", func(db *pebble.DB) error {
			return errors.Join(db.Delete(second, pebble.Sync), db.Set(appendBatchKey(nil, damagedKey, 5), batches[1], pebble.Sync))
		}, appendBatchKey(nil, damagedKey, 5), true},
		{"state", flipRecord(appendRecordKey(nil, damagedKey, recordState)), appendRecordKey(nil, damagedKey, recordState), false},
		{"bootstrap", flipRecord(appendRecordKey(nil, damagedKey, recordBootstrap)), appendRecordKey(nil, damagedKey, recordBootstrap), false},
		{"configuration", flipRecord(config), config, false},
		{"unknown record", func(db *pebble.DB) error {
			key := appendRecordKey(nil, damagedKey, 9)
			return db.Set(key, appendChecksum(key, nil), pebble.Sync)
		}, appendRecordKey(nil, damagedKey, 9), false},
		{"compaction", func(db *pebble.DB) error {
			key := appendRecordKey(nil, damagedKey, recordCompaction)
			return db.Set(key, []byte("short"), pebble.Sync)
		}, appendRecordKey(nil, damagedKey, recordCompaction), true},
		{"compaction of another length", func(db *pebble.DB) error {
			key := appendRecordKey(nil, damagedKey, recordCompaction)
			return db.Set(key, appendChecksum(key, make([]byte, 15)), pebble.Sync)
		}, appendRecordKey(nil, damagedKey, recordCompaction), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := openInMemory(t, vfs.NewMem())
			defer func() { _ = s.Close() }()
			other := logdb.ReplicaKey{ShardID: 7, ReplicaID: 4}
			damaged, good := saveOf(damagedKey, batches...), saveOf(other, batches...)
			damaged.StateChanged, damaged.State.Term = true, 5
			damaged.Bootstrap = &raftpb.Bootstrap{Incarnation: 1}
			damaged.Configs = []raftpb.ConfigRecord{{Index: 3}}
			if err := commit(s, damaged, good); err != nil {
				t.Fatal(err)
			}
			if err := test.change(s.db); err != nil {
				t.Fatal(err)
			}
			_, err := s.Load(damagedKey)
			checkDamage(t, "Load", err, test.key)
			if test.read {
				into, err := s.Read(damagedKey, 1, 6, 1<<20, nil)
				checkDamage(t, "Read", err, test.key)
				if len(into) != 0 {
					t.Errorf("Read returned %d batches along with the error", len(into))
				}
			}
			if stored, err := s.Load(other); err != nil || stored.Last != 6 {
				t.Errorf("the other replica: %+v, %v", stored, err)
			}
		})
	}
}

func checkDamage(t *testing.T, what string, err error, key []byte) {
	t.Helper()
	if !errors.Is(err, logdb.ErrDamaged) {
		t.Fatalf("%s: error %v, want ErrDamaged", what, err)
	}
	for _, part := range []string{damagedKey.String(), fmt.Sprintf("key %x", key)} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: error %q does not name %q", what, err, part)
		}
	}
}

// TestDamageInATableConcernsOneReplica zeroes what one replica has in a table. It is told so; the other is read, and the store takes
// writes as before.
func TestDamageInATableConcernsOneReplica(t *testing.T) {
	memory := vfs.NewMem()
	s := openInMemory(t, memory)
	other := logdb.ReplicaKey{ShardID: 9, ReplicaID: 3}
	for i := range uint64(4) { // a block of the table holds one batch
		for _, key := range []logdb.ReplicaKey{damagedKey, other} {
			if err := commit(s, saveOf(key, logdbtest.Batch(key.ShardID, 1, 1+i, 1, 40_000))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(s.db.Flush(), s.Close()); err != nil {
		t.Fatal(err)
	}
	zeroTableSector(t, memory)

	s = openInMemory(t, memory)
	defer func() { _ = s.Close() }()
	if _, err := s.Load(damagedKey); !errors.Is(err, logdb.ErrDamaged) {
		t.Errorf("Load: error %v, want ErrDamaged", err)
	}
	if _, err := s.Read(damagedKey, 1, 4, 1<<20, nil); !errors.Is(err, logdb.ErrDamaged) {
		t.Errorf("Read: error %v, want ErrDamaged", err)
	}
	if err := commit(s, saveOf(other, logdbtest.Batch(other.ShardID, 1, 5, 1, 100))); err != nil {
		t.Errorf("a write of the other replica: %v", err)
	}
	if stored, err := s.Load(other); err != nil || stored.Last != 5 {
		t.Errorf("the other replica: %+v, %v", stored, err)
	}
}

// TestDamageInTheManifestIsFound flips one bit in the manifest, at every eighth byte. Everything is there, or Open refuses, but for
// damage in the manifest's last record, which is not told from a torn one.
func TestDamageInTheManifestIsFound(t *testing.T) {
	memory := vfs.NewCrashableMem()
	s := openInMemory(t, memory)
	last := 0 // where the last record of the manifest begins
	for i := range uint64(6) {
		if err := commit(s, saveOf(damagedKey, logdbtest.Batch(7, 1, 1+i, 1, 100))); err != nil {
			t.Fatal(err)
		}
		last = len(readManifest(t, memory))
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	left := memory.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for at := 3; at < last; at += 8 {
		flipped := left.CrashClone(vfs.CrashCloneCfg{})
		flipManifestBit(t, flipped, at)
		s, err := Open(Options{FS: flipped, Dir: "log"})
		if errors.Is(err, logdb.ErrDamaged) {
			refused++
			continue
		}
		if err != nil {
			t.Errorf("byte %d: error %v, want ErrDamaged", at, err)
			continue
		}
		if stored, err := s.Load(damagedKey); err != nil || stored.Last != 6 {
			t.Errorf("byte %d: the log ends at %d and nothing was said (%v)", at, stored.Last, err)
		}
		_ = s.Close()
	}
	if refused < 20 {
		t.Errorf("Open refused %d times, the test proves little", refused)
	}
}

func manifestName(t *testing.T, system vfs.FS) string {
	t.Helper()
	name, err := currentManifest(system, "log")
	if err != nil || name == "" {
		t.Fatalf("there is no manifest: %v", err)
	}
	return system.PathJoin("log", name)
}

func readManifest(t *testing.T, system vfs.FS) []byte {
	t.Helper()
	file, err := system.Open(manifestName(t, system))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func flipManifestBit(t *testing.T, system vfs.FS, at int) {
	t.Helper()
	data := readManifest(t, system)
	data[at] ^= 1
	file, err := system.OpenReadWrite(manifestName(t, system), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(data, 0)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// zeroTableSector zeroes a sector of the first block of the one table.
func zeroTableSector(t *testing.T, fs vfs.FS) {
	t.Helper()
	names, err := fs.List("log")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		file, err := fs.OpenReadWrite(fs.PathJoin("log", name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.WriteAt(make([]byte, 512), 1024)
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("there is no table")
}

// TestDamageInTheWriteAheadLogIsFound flips one bit in the write-ahead log of a store that has just been made, again and
// again at other places. Everything that was acknowledged is there, or Open refuses; nothing is lost in silence (R12), but for
// the last two writes, which no later one need bear witness of (R11), and one for every border of a block, since Pebble does not
// count as synced what a write that crosses the border has before it (TestPebbleDoesNotCountWholeBlocksAsSynced).
func TestDamageInTheWriteAheadLogIsFound(t *testing.T) {
	const writes = 40
	for _, size := range []int{100, 3000} { // one block, and several
		memory, length := storeWithLog(t, writes, size)
		kept := uint64(writes - 2 - length/logBlock)
		refused := 0
		for at := 3; at < length; at += length / 83 {
			last, err := openFlipped(t, memory, at)
			switch {
			case errors.Is(err, logdb.ErrDamaged):
				refused++
			case err != nil:
				t.Errorf("byte %d of %d: error %v, want ErrDamaged", at, length, err)
			case last < kept:
				t.Errorf("byte %d of %d: the log ends at %d, want %d at least or to be told", at, length, last, kept)
			}
		}
		if refused < 70 {
			t.Errorf("Open refused %d times, the test proves little", refused)
		}
	}
}

// TestPebbleTakesDamageInTheLastBlockForTheEnd shows why checkNewestLog is needed.
func TestPebbleTakesDamageInTheLastBlockForTheEnd(t *testing.T) {
	memory, length := storeWithLog(t, 40, 100)
	if length > logBlock {
		t.Fatalf("the log has %d bytes, want one block", length)
	}
	left := memory.CrashClone(vfs.CrashCloneCfg{})
	flipLogBit(t, left, length/2)
	db, err := pebble.Open("log", &pebble.Options{FS: left, Logger: &recordingLogger{}, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatalf("open: %v; if Pebble notices this by now, checkNewestLog may go", err)
	}
	defer func() { _ = db.Close() }()
	if _, _, err := db.Get(appendBatchKey(nil, damagedKey, 39)); !errors.Is(err, pebble.ErrNotFound) {
		t.Errorf("the write behind the damage: error %v, want ErrNotFound", err)
	}
}

// storeWithLog makes a store and leaves it as a power cut would, with a log of batches of size bytes. It returns the length of
// the write-ahead log. All of them must fit in a first memtable, which is 256 KiB: the log would be changed behind a sync that is held.
//
// What the chunks of the log say of how far it was synced depends on when Pebble's goroutine looks. So that it does not depend on the
// scheduler, each sync is held until Pebble has the next write: it has all of a write when it looks, and has noted the sync
// before the last. That is the least it can know of writes that come one after another.
func storeWithLog(t *testing.T, batches uint64, size int) (left *vfs.MemFS, length int) {
	t.Helper()
	memory := vfs.NewCrashableMem()
	began, goOn := make(chan struct{}), make(chan struct{})
	var hold atomic.Bool
	s := openInMemory(t, failing(memory, func(op errorfs.Op) bool {
		if hold.Load() && isLogSync(op) {
			began <- struct{}{}
			<-goOn
		}
		return false
	}))
	hold.Store(true)
	done := make(chan error, 1)
	for i := range batches {
		group := s.NewGroup()
		if err := group.Save(saveOf(damagedKey, logdbtest.Batch(7, 1, 1+i, 1, size))); err != nil {
			t.Fatal(err)
		}
		s.Commit([]logdb.Group{group}, func(err error) { done <- err })
		if i > 0 {
			goOn <- struct{}{}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		<-began
	}
	hold.Store(false)
	goOn <- struct{}{}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	left = memory.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return left, len(readLog(t, left))
}

// openFlipped opens the store with one bit of its write-ahead log flipped and returns where the replica's log ends.
func openFlipped(t *testing.T, memory *vfs.MemFS, at int) (last uint64, err error) {
	t.Helper()
	left := memory.CrashClone(vfs.CrashCloneCfg{})
	flipLogBit(t, left, at)
	s, err := Open(Options{FS: left, Dir: "log"})
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	stored, err := s.Load(damagedKey)
	return stored.Last, err
}

// lastLog returns the name of the newest write-ahead log.
func lastLog(t *testing.T, fs vfs.FS) string {
	t.Helper()
	names, err := fs.List("log")
	if err != nil {
		t.Fatal(err)
	}
	last := ""
	for _, name := range names {
		if isLog(name) && name > last {
			last = name
		}
	}
	if last == "" {
		t.Fatal("there is no write-ahead log")
	}
	return fs.PathJoin("log", last)
}

func readLog(t *testing.T, fs vfs.FS) []byte {
	t.Helper()
	file, err := fs.Open(lastLog(t, fs))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, info.Size())
	if _, err := file.ReadAt(data, 0); err != nil {
		t.Fatal(err)
	}
	// What is behind the last record is preallocated.
	return bytes.TrimRight(data, "\x00")
}

func flipLogBit(t *testing.T, fs vfs.FS, at int) {
	t.Helper()
	data := readLog(t, fs)
	data[at] ^= 1
	file, err := fs.OpenReadWrite(lastLog(t, fs), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
}

// TestKeysKeepTheOrder: the order of keys is that of (shard, replica, index), and a replica's keys end before the next's.
func TestKeysKeepTheOrder(t *testing.T) {
	numbers := []uint64{0, 1, 255, 256, 1 << 32, 1<<64 - 1}
	var last []byte
	for _, shard := range numbers {
		for _, replica := range numbers {
			key := logdb.ReplicaKey{ShardID: shard, ReplicaID: replica}
			for _, index := range numbers {
				next := appendBatchKey(nil, key, index)
				if bytes.Compare(last, next) >= 0 {
					t.Fatalf("%x is not before %x", last, next)
				}
				last = next
			}
			if end := appendPrefixEnd(nil, spaceBatches, key); bytes.Compare(last, end) >= 0 {
				t.Fatalf("%x is not before the end %x", last, end)
			}
			if got, ok := parsePrefix(last); !ok || got != key || binary.BigEndian.Uint64(last[prefixLength:]) != 1<<64-1 {
				t.Fatalf("%x parses as %v, want %v", last, got, key)
			}
		}
	}
}
