package pebblelog

import (
	"encoding/binary"

	"github.com/flotilla-raft/flotilla/logdb"
)

// The first byte of a key. Batches and records are kept apart because they live differently: a batch is written once
// and removed once, a state record is overwritten all the time and thus mostly dies within a memtable.
const (
	spaceBatches = 'b'
	spaceRecords = 'r'
)

// recordKind is the byte behind the replica in the key of a record.
type recordKind byte

// The records of a replica, in the order in which Load meets them. The numbers are on disk.
const (
	recordBootstrap  recordKind = 1
	recordState      recordKind = 2
	recordCompaction recordKind = 3
	recordConfig     recordKind = 4 // followed by the index
	recordInstalling recordKind = 5
)

// Lengths of keys in bytes.
const (
	prefixLength    = 1 + 8 + 8
	batchKeyLength  = prefixLength + 8
	recordKeyLength = prefixLength + 1
	configKeyLength = recordKeyLength + 8
)

// appendPrefix appends what all keys of a replica within one space begin with.
func appendPrefix(dst []byte, space byte, key logdb.ReplicaKey) []byte {
	dst = append(dst, space)
	dst = binary.BigEndian.AppendUint64(dst, key.ShardID)
	return binary.BigEndian.AppendUint64(dst, key.ReplicaID)
}

// appendPrefixEnd appends the first key behind those of a replica within one space.
func appendPrefixEnd(dst []byte, space byte, key logdb.ReplicaKey) []byte {
	if key.ReplicaID++; key.ReplicaID == 0 {
		if key.ShardID++; key.ShardID == 0 {
			return append(dst, space+1)
		}
	}
	return appendPrefix(dst, space, key)
}

// appendBatchKey appends the key of the batch whose last index is last.
func appendBatchKey(dst []byte, key logdb.ReplicaKey, last uint64) []byte {
	return binary.BigEndian.AppendUint64(appendPrefix(dst, spaceBatches, key), last)
}

func appendRecordKey(dst []byte, key logdb.ReplicaKey, kind recordKind) []byte {
	return append(appendPrefix(dst, spaceRecords, key), byte(kind))
}

func appendConfigKey(dst []byte, key logdb.ReplicaKey, index uint64) []byte {
	return binary.BigEndian.AppendUint64(appendRecordKey(dst, key, recordConfig), index)
}

// parsePrefix returns the replica that a key belongs to.
func parsePrefix(key []byte) (logdb.ReplicaKey, bool) {
	if len(key) < prefixLength {
		return logdb.ReplicaKey{}, false
	}
	return logdb.ReplicaKey{
		ShardID:   binary.BigEndian.Uint64(key[1:]),
		ReplicaID: binary.BigEndian.Uint64(key[9:]),
	}, true
}
