package rebuild

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// Promises is a host's record of what its replicas promised.
type Promises interface {
	engine.PromiseStore
	// Replicas returns those of whom something is recorded, in the order of their keys.
	Replicas() []logdb.ReplicaKey
}

// Stores are what a host stores, beside its identity. They are used, not owned.
type Stores struct {
	// FS holds Dir, the data directory.
	FS        vfs.FS
	Dir       string
	Log       logdb.LogDB
	Snapshots *snapshot.Directory
	Promises  Promises
}

// Replicas returns every replica of a shard of which anything is there.
func (s *Stores) Replicas(shardID uint64) (there []logdb.ReplicaKey, err error) {
	add := func(key logdb.ReplicaKey) {
		if key.ShardID == shardID && !slices.Contains(there, key) {
			there = append(there, key)
		}
	}
	keys, err := s.Log.List()
	if err != nil {
		return nil, fmt.Errorf("list replicas: %w", err)
	}
	for _, key := range keys {
		add(key)
	}
	for _, name := range s.Snapshots.All() {
		add(logdb.ReplicaKey{ShardID: name.ShardID, ReplicaID: name.ReplicaID})
	}
	for _, key := range s.Promises.Replicas() {
		add(key)
	}
	return there, nil
}

// Describe says what is there of a replica.
func (s *Stores) Describe(key logdb.ReplicaKey) string {
	text := fmt.Sprintf("replica %d", key.ReplicaID)
	stored, err := s.Log.Load(key)
	switch {
	case err == nil:
		text += fmt.Sprintf(" with a log up to entry %d of term %d", stored.Last, LastTerm(&stored))
	case errors.Is(err, logdb.ErrNotFound):
		text += " without a log"
	default:
		text += fmt.Sprintf(" with a log that cannot be read (%v)", err)
	}
	return fmt.Sprintf("%s and %d snapshots", text, len(s.Snapshots.List(key.ShardID, key.ReplicaID)))
}

// LastTerm returns the term of the last entry of a log.
func LastTerm(stored *raftpb.Stored) uint64 {
	if n := len(stored.Terms); n > 0 {
		return stored.Terms[n-1].Term
	}
	return stored.CompactedTerm
}

// write commits one group and waits until it is durable.
func (s *Stores) write(group logdb.Group) error {
	durable := make(chan error, 1)
	s.Log.Commit([]logdb.Group{group}, func(err error) { durable <- err })
	return <-durable
}

// writeCategory marks this package's writes in statistics of the file system.
const writeCategory vfs.DiskWriteCategory = "flotilla-host"

// syncDirectory makes the names in a directory durable.
func syncDirectory(files vfs.FS, path string) error {
	directory, err := files.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// Writer writes into a file, which may change what it is given: an io.Writer must not.
type Writer struct {
	File vfs.File
	// Err is the first error. Nothing is written after it.
	Err error

	buffer []byte
}

// Write implements io.Writer.
func (w *Writer) Write(data []byte) (int, error) {
	if w.Err != nil {
		return 0, w.Err
	}
	w.buffer = append(w.buffer[:0], data...)
	n, err := w.File.Write(w.buffer)
	w.Err = err
	return n, err
}
