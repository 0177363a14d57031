package nodehost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
)

func record(shard, replica, term, index uint64) engine.PromiseRecord {
	return engine.PromiseRecord{
		Key:      logdb.ReplicaKey{ShardID: shard, ReplicaID: replica},
		Promised: raft.Promised{VoteTerm: term, Term: term, Index: index},
	}
}

func openTestPromises(t interface{ Fatal(...any) }, fs vfs.FS) *promiseFile {
	p, _, err := openPromises(fs, "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// It drives a promise file against a map, over reopenings and power cuts.
func TestPromisesAreWhatWasRecordedLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewCrashableMem()
		p := openTestPromises(t, fs)
		model := make(map[logdb.ReplicaKey]raft.Promised)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				_ = p.close()
				p = openTestPromises(t, fs)
			case 1: // what Record returned for is durable
				fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))})
				p = openTestPromises(t, fs)
			default:
				var records []engine.PromiseRecord
				for range rapid.IntRange(1, 300).Draw(t, "records") {
					r := record(rapid.Uint64Range(1, 20).Draw(t, "shard"), 1, rapid.Uint64().Draw(t, "term"), rapid.Uint64().Draw(t, "index"))
					if r.Forgotten = rapid.IntRange(0, 9).Draw(t, "forgotten") == 0; r.Forgotten {
						r.Promised = raft.Promised{}
						delete(model, r.Key)
					} else {
						model[r.Key] = r.Promised
					}
					records = append(records, r)
				}
				if err := p.Record(records); err != nil {
					t.Fatal(err)
				}
			}
			if !maps.Equal(p.promises, model) {
				t.Fatalf("promises are %v, want %v", p.promises, model)
			}
			if limit := minRewrite + rewriteFactor*len(model); p.records > limit {
				t.Fatalf("file holds %d records of %d promises", p.records, len(model))
			}
		}
		_ = p.close()
	})
}

func TestPromisesSkipWhatIsNotWhole(t *testing.T) {
	content := promiseHeader()
	for shard := uint64(1); shard <= 3; shard++ {
		r := record(shard, 2, 5, shard)
		content = appendPromise(content, &r)
	}
	torn := append(append([]byte(nil), content...), make([]byte, promiseSize+7)...)
	damaged := append([]byte(nil), content...)
	damaged[promiseHeaderSize+promiseSize+3] ^= 1
	for name, test := range map[string]struct {
		content       []byte
		want, skipped int
	}{
		"whole": {content, 3, 0}, "torn": {torn, 3, 2}, "cut": {content[:len(content)-1], 2, 1}, "damaged": {damaged, 2, 1},
		"none": {promiseHeader(), 0, 0},
	} {
		promises, skipped, err := decodePromises(test.content)
		if err != nil || len(promises) != test.want || skipped != test.skipped {
			t.Errorf("%s: %v, %d skipped, %v", name, promises, skipped, err)
		}
	}
	fs := vfs.NewMem()
	file, err := fs.Create(promisesName, writeCategory)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = file.Write(torn)
	_ = file.Close()
	p, skipped, err := openPromises(fs, "")
	if err != nil || skipped != 2 || p.Promised(logdb.ReplicaKey{ShardID: 3, ReplicaID: 2}).Index != 3 {
		t.Fatalf("%d skipped, %v", skipped, err)
	}
	// What is appended after a torn tail is found again.
	if err := p.Record([]engine.PromiseRecord{record(9, 2, 1, 1)}); err != nil {
		t.Fatal(err)
	}
	_ = p.close()
	if p, skipped, err = openPromises(fs, ""); err != nil || skipped != 0 || len(p.promises) != 4 {
		t.Fatalf("%v, %d skipped, %v", p.promises, skipped, err)
	}
	_ = p.close()
}

func TestPromisesRefuseAForeignFile(t *testing.T) {
	for name, test := range map[string]struct {
		change func([]byte) []byte
		says   string
	}{
		"empty": {func(b []byte) []byte { return nil }, "length"},
		"magic": {func(b []byte) []byte { b[0] = 'x'; return b }, "magic"},
		"version": {func(b []byte) []byte {
			b[8] = 7
			return binary.LittleEndian.AppendUint32(b[:12], crc32.Checksum(b[:12], castagnoli))
		}, "version is 7"},
		"rotten version": {func(b []byte) []byte { b[8] = 7; return b }, "checksum"},
		"record size":    {func(b []byte) []byte { b[10] = 7; return b }, "checksum"},
		"checksum":       {func(b []byte) []byte { b[15] ^= 1; return b }, "checksum"},
	} {
		_, _, err := decodePromises(test.change(promiseHeader()))
		if !errors.Is(err, ErrPromisesDamaged) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A failed write is not tried again: what the file holds after it is unknown.
func TestPromisesLatchAFailure(t *testing.T) {
	for _, operation := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSync} {
		failing := errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == operation {
				return fmt.Errorf("injected")
			}
			return nil
		})}
		p := openTestPromises(t, errorfs.Wrap(vfs.NewMem(), &failing))
		failing.On()
		first := p.Record([]engine.PromiseRecord{record(1, 1, 1, 1)})
		failing.Off()
		again := p.Record([]engine.PromiseRecord{record(1, 1, 1, 1)})
		if first == nil || again == nil || p.Promised(logdb.ReplicaKey{ShardID: 1, ReplicaID: 1}) != (raft.Promised{}) {
			t.Errorf("%v: %v, then %v", operation, first, again)
		}
		_ = p.close()
	}
}

func FuzzPromises(f *testing.F) {
	content := promiseHeader()
	for shard := uint64(1); shard <= 3; shard++ {
		r := record(shard, 2, 5, shard)
		r.Forgotten = shard == 2
		content = appendPromise(content, &r)
	}
	f.Add(content)
	f.Add(content[:len(content)-5])
	f.Add(promiseHeader())
	f.Fuzz(func(t *testing.T, content []byte) {
		promises, skipped, err := decodePromises(content)
		if err != nil {
			if !errors.Is(err, ErrPromisesDamaged) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		if records := (len(content) - promiseHeaderSize + promiseSize - 1) / promiseSize; len(promises)+skipped > records {
			t.Fatalf("%d promises and %d skipped of %d records", len(promises), skipped, records)
		}
		again := promiseHeader()
		for key, promised := range promises {
			if key.ShardID == 0 || key.ReplicaID == 0 {
				t.Fatalf("promise of %v", key)
			}
			again = appendPromise(again, &engine.PromiseRecord{Key: key, Promised: promised})
		}
		if same, skipped, err := decodePromises(again); err != nil || skipped != 0 || !maps.Equal(same, promises) {
			t.Fatalf("%v came back as %v, %d skipped, %v", promises, same, skipped, err)
		}
	})
}
