package pebblelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// checksumLength is the length in bytes of the checksum behind every record.
const checksumLength = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errRecord says that a record does not match its checksum or has a wrong length.
var errRecord = errors.New("record does not match its checksum")

// appendChecksum ends a record: the sum covers the key too, so that a record which Pebble returned for another key is noticed.
func appendChecksum(key, value []byte) []byte {
	return binary.LittleEndian.AppendUint32(value, checksum(key, value))
}

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// checkRecord returns the encoding within a stored record.
func checkRecord(key, value []byte) ([]byte, error) {
	if len(value) < checksumLength {
		return nil, fmt.Errorf("%w: %d bytes", errRecord, len(value))
	}
	encoding := value[:len(value)-checksumLength]
	stored := binary.LittleEndian.Uint32(value[len(encoding):])
	if sum := checksum(key, encoding); sum != stored {
		return nil, fmt.Errorf("%w: computed %08x, stored %08x", errRecord, sum, stored)
	}
	return encoding, nil
}

// compaction is the record of what was removed from the front of a log.
type compaction struct{ index, term uint64 }

func appendCompaction(dst []byte, c compaction) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, c.index)
	return binary.LittleEndian.AppendUint64(dst, c.term)
}

func decodeCompaction(data []byte) (compaction, error) {
	if len(data) != 16 {
		return compaction{}, fmt.Errorf("%w: compaction record of %d bytes, want 16", raftpb.ErrBadRecord, len(data))
	}
	return compaction{binary.LittleEndian.Uint64(data), binary.LittleEndian.Uint64(data[8:])}, nil
}
