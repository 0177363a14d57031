package pebblelog

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Load returns what is stored for a replica. It reads and verifies the whole log of the replica, so that damage is known before
// the replica says anything.
func (s *Store) Load(key logdb.ReplicaKey) (raftpb.Stored, error) {
	s.use.RLock()
	defer s.use.RUnlock()
	if s.closed {
		return raftpb.Stored{}, fmt.Errorf("%w: %v", logdb.ErrClosed, key)
	}
	// One snapshot for both scans: a Commit in between must not make them disagree.
	snapshot := s.db.NewSnapshot()
	defer func() { _ = snapshot.Close() }()
	stored, found, err := loadRecords(snapshot, key)
	if err != nil {
		return raftpb.Stored{}, err
	}
	batches, err := loadBatches(snapshot, key, &stored)
	if err != nil {
		return raftpb.Stored{}, err
	}
	if !found && !batches {
		return raftpb.Stored{}, fmt.Errorf("%w: %v", logdb.ErrNotFound, key)
	}
	return stored, nil
}

// scan calls visit for every key of a replica within a space, from the key given, until visit returns false.
func scan(
	reader pebble.Reader, key logdb.ReplicaKey, space byte, from []byte, visit func(key, value []byte) (bool, error),
) (err error) {
	iterator, err := reader.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: appendPrefixEnd(nil, space, key)})
	if err != nil {
		return readError(key, from, err)
	}
	defer func() {
		if closeErr := iterator.Close(); err == nil && closeErr != nil {
			err = readError(key, from, closeErr)
		}
	}()
	for ok := iterator.First(); ok; ok = iterator.Next() {
		value, err := iterator.ValueAndErr()
		if err != nil {
			return readError(key, iterator.Key(), err)
		}
		if more, err := visit(iterator.Key(), value); err != nil || !more {
			return err
		}
	}
	return nil
}

// readError classes an error of Pebble's as damage or as a failed read.
func readError(key logdb.ReplicaKey, at []byte, err error) error {
	if pebble.IsCorruptionError(err) {
		return damaged(key, at, err)
	}
	return fmt.Errorf("pebblelog: %v: reading key %x: %w", key, at, err)
}

func damaged(key logdb.ReplicaKey, at []byte, err error) error {
	return fmt.Errorf("%w: %v: key %x: %w", logdb.ErrDamaged, key, at, err)
}

func loadRecords(reader pebble.Reader, key logdb.ReplicaKey) (stored raftpb.Stored, found bool, err error) {
	from := appendPrefix(nil, spaceRecords, key)
	err = scan(reader, key, spaceRecords, from, func(at, value []byte) (bool, error) {
		found = true
		if err := loadRecord(&stored, at, value); err != nil {
			return false, damaged(key, at, err)
		}
		return true, nil
	})
	return stored, found, err
}

// loadRecord decodes one record. The compaction record comes before the configurations, of which only the newest at
// or below the compacted index is kept.
func loadRecord(stored *raftpb.Stored, key, value []byte) error {
	encoding, err := checkRecord(key, value)
	if err != nil {
		return err
	}
	if len(key) < recordKeyLength {
		return fmt.Errorf("%w: key of %d bytes", raftpb.ErrBadRecord, len(key))
	}
	switch recordKind(key[prefixLength]) {
	case recordBootstrap:
		stored.Bootstrap, err = raftpb.DecodeBootstrap(encoding)
	case recordState:
		stored.State, err = raftpb.DecodeHardState(encoding)
	case recordCompaction:
		var c compaction
		c, err = decodeCompaction(encoding)
		stored.Compacted, stored.CompactedTerm = c.index, c.term
	case recordConfig:
		var config raftpb.ConfigRecord
		config, err = raftpb.DecodeConfigRecord(encoding)
		if n := len(stored.Configs); n > 0 && config.Index <= stored.Compacted {
			stored.Configs = stored.Configs[:0]
		}
		stored.Configs = append(stored.Configs, config)
	case recordInstalling:
		var meta raftpb.SnapshotMeta
		meta, err = raftpb.DecodeSnapshotMeta(encoding)
		stored.Installing = &meta
	default:
		err = fmt.Errorf("%w: record kind %d", raftpb.ErrBadRecord, key[prefixLength])
	}
	return err
}

// loadBatches checks the log behind what was compacted and fills in what Stored says of it.
func loadBatches(reader pebble.Reader, key logdb.ReplicaKey, stored *raftpb.Stored) (found bool, err error) {
	loader := logdb.NewLoader(key, stored.Compacted, stored.CompactedTerm)
	from := appendBatchKey(nil, key, stored.Compacted+1)
	err = scan(reader, key, spaceBatches, from, func(at, value []byte) (bool, error) {
		found = true
		batch, err := loader.Add(value)
		if err != nil {
			return false, fmt.Errorf("%w: key %x", err, at)
		}
		return true, checkPlace(key, at, batch)
	})
	stored.Last, stored.Terms = loader.Last, loader.Terms
	return found, err
}

// checkPlace checks that a batch stands under its own key.
func checkPlace(key logdb.ReplicaKey, at []byte, batch raftpb.Batch) error {
	var own [batchKeyLength]byte
	if string(appendBatchKey(own[:0], key, batch.Last())) == string(at) {
		return nil
	}
	return fmt.Errorf("%w: %v: key %x: batch [%d, %d] stands in a wrong place",
		logdb.ErrDamaged, key, at, batch.First(), batch.Last())
}

// List returns the keys of all replicas. It makes one seek per replica and space, however long the logs are.
func (s *Store) List() ([]logdb.ReplicaKey, error) {
	s.use.RLock()
	defer s.use.RUnlock()
	if s.closed {
		return nil, fmt.Errorf("%w: list", logdb.ErrClosed)
	}
	snapshot := s.db.NewSnapshot()
	defer func() { _ = snapshot.Close() }()
	records, err := listSpace(snapshot, spaceRecords)
	if err != nil {
		return nil, err
	}
	batches, err := listSpace(snapshot, spaceBatches)
	if err != nil {
		return nil, err
	}
	return mergeKeys(records, batches), nil
}

func listSpace(reader pebble.Reader, space byte) (keys []logdb.ReplicaKey, err error) {
	bounds := &pebble.IterOptions{LowerBound: []byte{space}, UpperBound: []byte{space + 1}}
	iterator, err := reader.NewIter(bounds)
	if err != nil {
		return nil, readError(logdb.ReplicaKey{}, bounds.LowerBound, err)
	}
	defer func() {
		if closeErr := iterator.Close(); err == nil && closeErr != nil {
			err = readError(logdb.ReplicaKey{}, bounds.LowerBound, closeErr)
		}
	}()
	var seek []byte
	for ok := iterator.First(); ok; ok = iterator.SeekGE(seek) {
		key, ok := parsePrefix(iterator.Key())
		if !ok {
			return nil, fmt.Errorf("%w: key %x is none of this store's", logdb.ErrDamaged, iterator.Key())
		}
		keys = append(keys, key)
		seek = appendPrefixEnd(seek[:0], space, key)
	}
	return keys, nil
}
