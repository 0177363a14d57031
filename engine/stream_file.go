package engine

import (
	"errors"
	"fmt"
	"io"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// fileBytes are those of a snapshot's file. The file is held open as long as the stream lasts, so that it goes on although the snapshot
// is removed meanwhile, for there are newer ones.
type fileBytes struct {
	file snapshot.File
	size uint64
}

func openFileBytes(directory *snapshot.Directory, name snapshot.Name) (*fileBytes, error) {
	file, size, err := directory.OpenAt(name)
	if err != nil {
		return nil, err
	}
	return &fileBytes{file, size}, nil
}

// chunk implements streamBytes. The memory is a new one each time: the transport holds on to it until it is written.
func (f *fileBytes) chunk(offset uint64, most int) (data []byte, total uint64, err error) {
	if offset >= f.size {
		return nil, f.size, nil
	}
	data = make([]byte, min(uint64(most), f.size-offset))
	if n, err := f.file.ReadAt(data, int64(offset)); n < len(data) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, f.size, fmt.Errorf("read at byte %d: %w", offset, err)
	}
	return data, f.size, nil
}

// meta reads the metadata.
func (f *fileBytes) meta() (raftpb.SnapshotMeta, error) {
	reader, err := snapshot.NewReader(io.NewSectionReader(f.file, 0, int64(f.size)))
	if err != nil {
		return raftpb.SnapshotMeta{}, err
	}
	return reader.Meta(), nil
}

func (f *fileBytes) forget(uint64) {}

func (f *fileBytes) close() { _ = f.file.Close() } // it was only read
