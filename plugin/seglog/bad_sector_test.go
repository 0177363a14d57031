package seglog

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
)

var errSector = errors.New("a sector cannot be read")

// badSector is a file system with one block that is never read.
type badSector struct {
	vfs.FS
	name  string
	block int64
}

func (b *badSector) Open(name string, options ...vfs.OpenOption) (vfs.File, error) {
	file, err := b.FS.Open(name, options...)
	if err != nil || b.PathBase(name) != b.name {
		return file, err
	}
	return &badFile{file, b}, nil
}

type badFile struct {
	vfs.File
	bad *badSector
}

func (f *badFile) ReadAt(data []byte, offset int64) (int, error) {
	if at := f.bad.block * blockSize; offset < at+blockSize && offset+int64(len(data)) > at {
		return 0, errSector
	}
	return f.File.ReadAt(data, offset)
}

// TestEveryBadSector: a block that cannot be read does not keep the host from opening its log, wherever it is; unless nothing else of the segment can be read
// either, when nobody knows whether there was something in it. What is found is whole, damaged and says so, or as it was earlier.
//
// It was the whole host's failure when the block was one with a segment's header, footer or trailer.
func TestEveryBadSector(t *testing.T) {
	h := draw(t, newWorkload(11, 4, 200), 70)
	files := smallDirectory(t, h, 2, true)
	opened, refused := 0, 0
	for name, content := range files {
		if !strings.HasSuffix(name, segmentSuffix) {
			continue
		}
		for at := 0; at < len(content); at += blockSize {
			bad := &badSector{FS: imageOf(t, files), name: name, block: int64(at / blockSize)}
			s, err := Open(manual(bad))
			if err != nil {
				if refused++; at != 0 || !errors.Is(err, errSector) {
					t.Fatalf("%s, block %d: %v", name, at/blockSize, err)
				}
				continue
			}
			opened++
			for i, key := range h.keys {
				if _, err := s.Load(key); errors.Is(err, errSector) || errors.Is(err, logdb.ErrDamaged) {
					continue
				}
				line := fingerprint(t, s, h.keys[i:i+1])[0]
				if !slices.ContainsFunc(h.states, func(state []string) bool { return state[i] == line }) {
					t.Fatalf("%s, block %d: %v was never in the state %.500s", name, at/blockSize, key, line)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d opened, %d refused", opened, refused)
	if opened < 20 || refused > len(files) {
		t.Error("too few are opened")
	}
}
