package pebblekv

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/rsm/internal/items"
)

// ErrDamaged says that what the store holds is not what this package writes.
var ErrDamaged = errors.New("pebblekv: data is damaged")

// The spaces of keys.
const (
	dataPrefix    = 'd'
	sessionPrefix = 's'
)

var metaKey = []byte{'m'}

// meta is what is known of the state: it is written with every batch.
type meta struct {
	applied uint64
	sum     items.Sum
}

const (
	metaVersion = 1
	metaBytes   = 1 + 8 + 8 + 8
)

func (m *meta) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(append(dst, metaVersion), m.applied)
	dst = binary.LittleEndian.AppendUint64(dst, m.sum.Count)
	return binary.LittleEndian.AppendUint64(dst, m.sum.Hash)
}

func parseMeta(record []byte) (m meta, err error) {
	if len(record) == 0 || record[0] != metaVersion {
		return m, fmt.Errorf("%w: version %.1x, this program reads version %d", ErrDamaged, record, metaVersion)
	}
	if len(record) != metaBytes {
		return m, fmt.Errorf("%w: record of %d bytes, want %d", ErrDamaged, len(record), metaBytes)
	}
	m.applied = binary.LittleEndian.Uint64(record[1:])
	m.sum = items.Sum{Count: binary.LittleEndian.Uint64(record[9:]), Hash: binary.LittleEndian.Uint64(record[17:])}
	return m, nil
}

func prefixed(dst []byte, prefix byte, key string) []byte { return append(append(dst, prefix), key...) }
