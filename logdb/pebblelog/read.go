package pebblelog

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Read returns stored batches, freshly allocated. See logdb.LogDB.
func (s *Store) Read(
	key logdb.ReplicaKey, from, to uint64, maxBytes int, into []raftpb.Batch,
) ([]raftpb.Batch, error) {
	s.use.RLock()
	defer s.use.RUnlock()
	if s.closed {
		return into, fmt.Errorf("%w: %v", logdb.ErrClosed, key)
	}
	snapshot := s.db.NewSnapshot()
	defer func() { _ = snapshot.Close() }()
	compacted, err := readCompaction(snapshot, key)
	if err != nil {
		return into, err
	}
	if from <= compacted {
		return into, fmt.Errorf("%w: %v: index %d, compacted up to %d", logdb.ErrCompacted, key, from, compacted)
	}
	read, err := readBatches(snapshot, key, from, to, maxBytes, into)
	if err != nil {
		return into, err
	}
	if len(read) == len(into) {
		return into, missing(snapshot, key, from, to)
	}
	return read, nil
}

// readBatches appends batches to into, or returns an error.
func readBatches(
	reader pebble.Reader, key logdb.ReplicaKey, from, to uint64, maxBytes int, into []raftpb.Batch,
) ([]raftpb.Batch, error) {
	if from > to {
		return into, nil
	}
	size := 0
	want := from // an index that the next batch must hold
	err := scan(reader, key, spaceBatches, appendBatchKey(nil, key, from), func(at, value []byte) (bool, error) {
		batch, err := logdb.VerifyBatch(key, slices.Clone(value))
		if err != nil {
			return false, fmt.Errorf("%w: key %x", err, at)
		}
		if err := checkPlace(key, at, batch); err != nil {
			return false, err
		}
		if batch.First() > want || want > from && batch.First() != want {
			return false, fmt.Errorf("%w: %v: key %x: batch [%d, %d] does not follow, want index %d",
				logdb.ErrDamaged, key, at, batch.First(), batch.Last(), want)
		}
		into = append(into, batch)
		size += len(batch)
		want = batch.Last() + 1
		return want <= to && size < maxBytes, nil
	})
	return into, err
}

// readCompaction returns the index up to which a log was compacted, 0 if it was not.
func readCompaction(reader pebble.Reader, key logdb.ReplicaKey) (uint64, error) {
	at := appendRecordKey(nil, key, recordCompaction)
	value, closer, err := reader.Get(at)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, readError(key, at, err)
	}
	defer func() { _ = closer.Close() }()
	encoding, err := checkRecord(at, value)
	if err != nil {
		return 0, damaged(key, at, err)
	}
	c, err := decodeCompaction(encoding)
	if err != nil {
		return 0, damaged(key, at, err)
	}
	return c.index, nil
}

// missing says why nothing was found.
func missing(reader pebble.Reader, key logdb.ReplicaKey, from, to uint64) error {
	known := false
	for _, space := range [...]byte{spaceRecords, spaceBatches} {
		err := scan(reader, key, space, appendPrefix(nil, space, key), func(_, _ []byte) (bool, error) {
			known = true
			return false, nil
		})
		if err != nil {
			return err
		}
	}
	if !known {
		return fmt.Errorf("%w: %v", logdb.ErrNotFound, key)
	}
	return fmt.Errorf("%w: %v: indexes %d to %d", logdb.ErrUnavailable, key, from, to)
}

// mergeKeys merges two ascending lists and drops what is in both.
func mergeKeys(a, b []logdb.ReplicaKey) []logdb.ReplicaKey {
	keys := append(a, b...)
	slices.SortFunc(keys, logdb.ReplicaKey.Compare)
	return slices.Compact(keys)
}
