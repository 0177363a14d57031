package limit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const headerSize = 32

const (
	kindBatch = 1
	kindAck   = 2
)

// maxBody is far above what the harness can have in flight in one shard; a length beyond it is damage.
const maxBody = 1 << 31

// errFrame is wrapped by every fault of a frame.
var errFrame = errors.New("limit: bad frame")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is the part of a frame before its body.
type header struct {
	kind, leader         uint8
	length, count, shard uint32
	index                uint64
}

// seal writes the header into the first bytes of a frame whose body is in place.
func (h header) seal(frame []byte) {
	frame[4], frame[5], frame[6], frame[7] = h.kind, h.leader, 0, 0
	binary.LittleEndian.PutUint32(frame[8:], h.length)
	binary.LittleEndian.PutUint32(frame[12:], h.count)
	binary.LittleEndian.PutUint32(frame[16:], h.shard)
	binary.LittleEndian.PutUint32(frame[20:], 0)
	binary.LittleEndian.PutUint64(frame[24:], h.index)
	binary.LittleEndian.PutUint32(frame, crc32.Checksum(frame[4:], castagnoli))
}

// parseHeader reads a header of headerSize bytes; nothing is checked but the length, which is needed to get at the rest.
func parseHeader(frame []byte) (header, error) {
	h := header{
		kind:   frame[4],
		leader: frame[5],
		length: binary.LittleEndian.Uint32(frame[8:]),
		count:  binary.LittleEndian.Uint32(frame[12:]),
		shard:  binary.LittleEndian.Uint32(frame[16:]),
		index:  binary.LittleEndian.Uint64(frame[24:]),
	}
	if h.length > maxBody {
		return header{}, fmt.Errorf("%w: length %d", errFrame, h.length)
	}
	return h, nil
}

// check verifies a whole frame.
func (h header) check(frame []byte, hosts, shards int) error {
	switch {
	case crc32.Checksum(frame[4:], castagnoli) != binary.LittleEndian.Uint32(frame):
		return fmt.Errorf("%w: checksum of shard %d, index %d", errFrame, h.shard, h.index)
	case h.kind != kindBatch && h.kind != kindAck:
		return fmt.Errorf("%w: kind %d", errFrame, h.kind)
	case int(h.leader) >= hosts:
		return fmt.Errorf("%w: leader %d", errFrame, h.leader)
	case int64(h.shard) >= int64(shards):
		return fmt.Errorf("%w: shard %d", errFrame, h.shard)
	case h.kind == kindAck && h.length != 0:
		return fmt.Errorf("%w: acknowledgement with a body of %d bytes", errFrame, h.length)
	}
	return nil
}

// last is the index of the last command of a batch.
func (h header) last() uint64 { return h.index + uint64(h.count) - 1 }

// appendCommand adds a command to the body of a batch.
func appendCommand(frame, command []byte) []byte {
	frame = binary.AppendUvarint(frame, uint64(len(command)))
	return append(frame, command...)
}

// nextCommand cuts the first command off a body.
func nextCommand(body []byte) (command, rest []byte, err error) {
	length, size := binary.Uvarint(body)
	if size <= 0 || length > uint64(len(body)-size) {
		return nil, nil, fmt.Errorf("%w: a command ends beyond its batch", errFrame)
	}
	end := size + int(length)
	return body[size:end], body[end:], nil
}
