package nodehost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/internal/rebuild"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// Exported is a snapshot that was written out.
type Exported struct {
	// Path is the file: in the directory that was asked for, shard-<shard>-index-<index>.snapshot.
	Path string
	// Summary says what the file holds.
	Summary snapshot.Summary
}

// exportName names an exported snapshot. What has not got it yet ends otherwise, and is nobody's: it may be removed.
func exportName(shardID, index uint64) string {
	return fmt.Sprintf("shard-%d-index-%d.snapshot", shardID, index)
}

// ExportSnapshot writes a snapshot of the replica on this host to a file in dir, which is made if it does not exist: everything that was applied
// here before the call is in it, client sessions included. It works on any replica with a state machine that takes snapshots, and nothing
// stops for it but what Snapshot stops for. The file is whole and durable when the call returns: it is written beside, synced,
// renamed, and dir is synced. A file of the same name, which is one of the same shard and index, is replaced. What a crash leaves of an
// unfinished one ends in .temporary. dir is in the file system of Config.FS; it may be on another device.
//
// If ctx ends first the export is given up. Errors: those of Snapshot, and of the file system.
func (s *Shard) ExportSnapshot(ctx context.Context, dir string) (Exported, error) {
	if ctx.Err() != nil {
		return Exported{}, context.Cause(ctx)
	}
	e := &export{shard: s, fs: s.host.config.FS, dir: dir}
	if !s.replica.KeepsFiles() {
		return e.state(ctx)
	}
	for {
		least, err := s.Snapshot(ctx)
		if err != nil {
			return Exported{}, err
		}
		names := s.replica.Snapshots()
		if len(names) == 0 || names[0].Index < least {
			continue // it was removed: the replica begins anew
		}
		exported, err := e.copy(ctx, names[0])
		if !errors.Is(err, errSnapshotGone) {
			return exported, err
		}
	}
}

// errSnapshotGone says that a newer snapshot has taken the place of the one that was to be copied.
var errSnapshotGone = errors.New("the snapshot was removed")

// export is one call of ExportSnapshot.
type export struct {
	shard *Shard
	fs    vfs.FS
	dir   string
}

func (e *export) failed(err error) error {
	return fmt.Errorf("%w: export of shard %d to %s: %w", ErrSnapshotFailed, e.shard.ID(), e.dir, err)
}

// copy exports a file, and checks it on its way: one that is damaged is refused.
func (e *export) copy(ctx context.Context, name snapshot.Name) (Exported, error) {
	directory := e.shard.host.snapshots
	file, size, err := directory.OpenAt(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Exported{}, errSnapshotGone
	}
	if err != nil {
		return Exported{}, e.failed(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	exported, err := e.write(func(out io.Writer) (snapshot.Summary, error) {
		check := snapshot.NewCheck()
		from := &endingReader{ctx, io.NewSectionReader(file, 0, int64(size))}
		if _, err := io.CopyBuffer(io.MultiWriter(check, out), from, make([]byte, 1<<20)); err != nil {
			return snapshot.Summary{}, fmt.Errorf("%s: %w", directory.Path(name), err)
		}
		summary, err := check.Close()
		if err != nil {
			return summary, fmt.Errorf("%s: %w", directory.Path(name), err)
		}
		return summary, nil
	})
	if err != nil {
		if ctx.Err() != nil {
			return Exported{}, context.Cause(ctx)
		}
		return Exported{}, e.failed(err)
	}
	return exported, nil
}

// endingReader ends with a context.
type endingReader struct {
	ctx  context.Context
	from io.Reader
}

// Read implements io.Reader.
func (r *endingReader) Read(data []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.from.Read(data)
}

// state exports a state machine on disk, which has no file.
func (e *export) state(ctx context.Context) (Exported, error) {
	cancel := func(error) {}
	exported, err := ask(ctx, e.shard, nothingChanges, func(done func(Exported, error)) {
		var exported Exported
		write := func(save func(io.Writer) (snapshot.Summary, error)) (err error) {
			exported, err = e.write(save)
			return err
		}
		cancel = e.shard.replica.Export(write, func(err error) {
			if err != nil {
				done(Exported{}, err) // a stuck one may still be at it
				return
			}
			done(exported, nil)
		})
	})
	if err != nil {
		cancel(err) // it is over, or nobody waits for it
	}
	return exported, err
}

// write makes the file, whole or not at all.
func (e *export) write(save func(io.Writer) (snapshot.Summary, error)) (exported Exported, err error) {
	if err := makeDir(e.fs, e.dir); err != nil {
		return exported, err
	}
	temporary := e.fs.PathJoin(e.dir, fmt.Sprintf("shard-%d-%016x%s", e.shard.ID(), rand.Uint64(), temporarySuffix))
	file, err := e.fs.Create(temporary, writeCategory)
	if err != nil {
		return exported, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.fs.Remove(temporary))
		}
	}()
	out := &rebuild.Writer{File: file}
	exported.Summary, err = save(out)
	if err = errors.Join(cmp.Or(out.Err, err), syncIf(cmp.Or(out.Err, err) == nil, file), file.Close()); err != nil {
		return exported, err
	}
	exported.Path = e.fs.PathJoin(e.dir, exportName(e.shard.ID(), exported.Summary.Meta.Index))
	if err = e.fs.Rename(temporary, exported.Path); err != nil {
		return exported, err
	}
	return exported, syncDir(e.fs, e.dir)
}

// syncIf syncs a file that was written without an error.
func syncIf(written bool, file vfs.File) error {
	if !written {
		return nil
	}
	return file.Sync()
}
