package nodehost

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
)

const (
	promiseMagic      = "FLTLPROM"
	promiseVersion    = 1
	promiseHeaderSize = 16
	promiseSize       = 48

	promiseForgotten = 1 // flag
)

func promiseHeader() []byte {
	header := append(make([]byte, 0, promiseHeaderSize), promiseMagic...)
	header = binary.LittleEndian.AppendUint16(header, promiseVersion)
	header = binary.LittleEndian.AppendUint16(header, promiseSize)
	return binary.LittleEndian.AppendUint32(header, crc32.Checksum(header, castagnoli))
}

// checkPromiseHeader says whether content begins as a file of promises. The header is durable before the file has its name, so a
// wrong one is never the trace of a crash. Errors match ErrPromisesDamaged.
func checkPromiseHeader(content []byte) error {
	fail := func(format string, arguments ...any) error {
		return fmt.Errorf("%w: %s", ErrPromisesDamaged, fmt.Sprintf(format, arguments...))
	}
	if len(content) < promiseHeaderSize {
		return fail("length is %d, want at least %d", len(content), promiseHeaderSize)
	}
	if magic := string(content[:8]); magic != promiseMagic {
		return fail("magic is %q, want %q", magic, promiseMagic)
	}
	sum := binary.LittleEndian.Uint32(content[12:])
	if computed := crc32.Checksum(content[:12], castagnoli); computed != sum {
		return fail("checksum of the header is %08x, computed is %08x", sum, computed)
	}
	if version := binary.LittleEndian.Uint16(content[8:]); version != promiseVersion { // every version has such a header
		return fail("version is %d, this program reads version %d", version, promiseVersion)
	}
	if size := binary.LittleEndian.Uint16(content[10:]); size != promiseSize {
		return fail("record size is %d, want %d", size, promiseSize)
	}
	return nil
}

// appendPromise appends a record. A hole of zeros is no record, since shard IDs are never 0.
func appendPromise(content []byte, record *engine.PromiseRecord) []byte {
	start := len(content)
	content = binary.LittleEndian.AppendUint64(content, record.Key.ShardID)
	content = binary.LittleEndian.AppendUint64(content, record.Key.ReplicaID)
	content = binary.LittleEndian.AppendUint64(content, record.Promised.VoteTerm)
	content = binary.LittleEndian.AppendUint64(content, record.Promised.Term)
	content = binary.LittleEndian.AppendUint64(content, record.Promised.Index)
	flags := uint32(0)
	if record.Forgotten {
		flags = promiseForgotten
	}
	content = binary.LittleEndian.AppendUint32(content, flags)
	return binary.LittleEndian.AppendUint32(content, crc32.Checksum(content[start:], castagnoli))
}

// decodePromise reads a record of promiseSize bytes and reports whether it is whole.
func decodePromise(content []byte) (record engine.PromiseRecord, whole bool) {
	if len(content) != promiseSize || crc32.Checksum(content[:44], castagnoli) != binary.LittleEndian.Uint32(content[44:]) {
		return record, false
	}
	flags := binary.LittleEndian.Uint32(content[40:])
	record = engine.PromiseRecord{
		Key: logdb.ReplicaKey{
			ShardID:   binary.LittleEndian.Uint64(content),
			ReplicaID: binary.LittleEndian.Uint64(content[8:]),
		},
		Promised: raft.Promised{
			VoteTerm: binary.LittleEndian.Uint64(content[16:]),
			Term:     binary.LittleEndian.Uint64(content[24:]),
			Index:    binary.LittleEndian.Uint64(content[32:]),
		},
		Forgotten: flags == promiseForgotten,
	}
	return record, flags <= promiseForgotten && record.Key.ShardID != 0 && record.Key.ReplicaID != 0
}

// decodePromises returns what the records of a file say in the end, and how many were not whole. Records are of one size and
// each stands for itself, so a bad one is skipped and the others count: what remains is a lower bound, which is all that a
// promise has to be. Cutting the file at the first bad record instead would forget more.
func decodePromises(content []byte) (promises map[logdb.ReplicaKey]raft.Promised, skipped int, err error) {
	if err := checkPromiseHeader(content); err != nil {
		return nil, 0, err
	}
	promises = make(map[logdb.ReplicaKey]raft.Promised)
	for rest := content[promiseHeaderSize:]; len(rest) > 0; rest = rest[min(promiseSize, len(rest)):] {
		record, whole := decodePromise(rest[:min(promiseSize, len(rest))])
		switch {
		case !whole:
			skipped++
		case record.Forgotten:
			delete(promises, record.Key)
		default:
			promises[record.Key] = record.Promised
		}
	}
	return promises, skipped, nil
}
