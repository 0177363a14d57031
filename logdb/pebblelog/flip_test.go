package pebblelog

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// flips is how many bytes of a directory are flipped, one at a time, spread evenly over all.
const flips = 250

// TestFlippedBytes flips bits all over a small directory. Whatever is hit: the store refuses, or a replica does, or, where the newest writes
// were hit, a log ends earlier; what is read is never wrong, and nothing panics.
func TestFlippedBytes(t *testing.T) {
	keys := []logdb.ReplicaKey{{ShardID: 1, ReplicaID: 1}, {ShardID: 2, ReplicaID: 1}, {ShardID: 3, ReplicaID: 2}}
	written := map[logdb.ReplicaKey][]raftpb.Batch{}
	memory := vfs.NewMem()
	for life := range uint64(2) { // a part of it is in tables
		s := openInMemory(t, memory)
		for i := range uint64(6) {
			for _, key := range keys {
				batch := logdbtest.Batch(key.ShardID, 1, 6*life+i+1, 1, 60)
				written[key] = append(written[key], batch)
				save := saveOf(key, batch)
				save.State, save.StateChanged = raftpb.HardState{Term: 1, Vote: 1, Commit: 6*life + i}, true
				if err := commit(s, save); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	files, total := readFiles(t, memory)
	refused, damaged, shorter, whole := 0, 0, 0, 0
	for number := range flips {
		at := number * total / flips
		image, where := flippedImage(t, files, at)
		s, err := Open(Options{FS: image, Dir: "log", MemtableBytes: MinMemtableBytes})
		if err != nil {
			refused++
			continue
		}
		for _, key := range keys {
			got, err := readAll(s, key, len(written[key]))
			switch {
			case errors.Is(err, logdb.ErrDamaged):
				damaged++
			case err != nil:
				t.Errorf("%s: %v: %v", where, key, err)
			case len(got) > len(written[key]) || !slices.EqualFunc(got, written[key][:len(got)], func(a, b raftpb.Batch) bool { return string(a) == string(b) }):
				t.Errorf("%s: %v: what is read was never written", where, key)
			case len(got) < len(written[key]):
				shorter++
			default:
				whole++
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", where, err)
		}
	}
	t.Logf("%d stores refused; replicas damaged %d, shorter %d, whole %d", refused, damaged, shorter, whole)
	if refused == 0 || damaged == 0 || whole == 0 {
		t.Error("the run proves nothing")
	}
}

// readAll returns the log of a replica; none if it is not there.
func readAll(s *Store, key logdb.ReplicaKey, most int) ([]raftpb.Batch, error) {
	stored, err := s.Load(key)
	if errors.Is(err, logdb.ErrNotFound) || err == nil && stored.Last == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.Read(key, 1, min(stored.Last, uint64(most)), 1<<30, nil)
}

// readFiles returns the files of the store, in the order of their names, and the bytes of all.
func readFiles(t *testing.T, fs vfs.FS) (files []storedFile, total int) {
	t.Helper()
	names, err := fs.List("log")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		file, err := fs.Open("log/" + name)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(file)
		if err = errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		files = append(files, storedFile{name, content})
		total += len(content)
	}
	return files, total
}

type storedFile struct {
	name    string
	content []byte
}

// flippedImage returns a file system with the files, one bit of one byte changed; at counts over all files.
func flippedImage(t *testing.T, files []storedFile, at int) (image vfs.FS, where string) {
	t.Helper()
	image = vfs.NewMem()
	if err := image.MkdirAll("log", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		content := f.content
		if at >= 0 && at < len(content) {
			where = fmt.Sprintf("%s at %d", f.name, at)
			content = slices.Clone(content)
			content[at] ^= 1 << (at % 8)
		}
		at -= len(f.content)
		file, err := image.Create("log/"+f.name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.Write(content)
		if err = errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return image, where
}
