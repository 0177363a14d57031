package tcp

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// The header of a frame, drawn in doc.go; all integers are little endian.
const (
	frameMagic      = "FLFR"
	frameHeaderSize = 16
	offFrameFlags   = 4 // four bytes, all zero in this version
	offFrameLength  = 8
	offFrameCRC     = 12

	maxFrameLength = 1 << 30
)

// Sizes that shape frames.
const (
	// frameTarget is the payload at which a frame is full and the next begins. Small against the receiver's chunk, so
	// that little is copied when a frame straddles the end of one; large against the price of a frame.
	frameTarget = 64 << 10
	// spliceThreshold is the length from which a batch is referenced and written by writev instead of being copied.
	spliceThreshold = 16 << 10
	// spareFrameBytes is the largest buffer of a written frame that is kept for another.
	spareFrameBytes = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is one frame under construction: bytes holds the header and what was copied, splices the large batches that
// belong between. A frame is owned by the lane's mutex until the sender takes it, by the sender until it is written.
type frame struct {
	bytes    []byte
	splices  []raftpb.Splice
	size     int // header, copied bytes and splices
	messages int
}

// reset makes an empty frame, with room for the header.
func (f *frame) reset() {
	var header [frameHeaderSize]byte
	clear(f.splices) // written batches must not be kept alive by a spare frame
	f.bytes, f.splices = append(f.bytes[:0], header[:]...), f.splices[:0]
	f.size, f.messages = frameHeaderSize, 0
}

// add appends a message whose MessageSize is size.
func (f *frame) add(m *raftpb.Message, size int) {
	f.bytes, f.splices = raftpb.AppendMessageSplit(f.bytes, f.splices, m, spliceThreshold)
	f.size += size
	f.messages++
}

// full says that no message of the given size should join what is in the frame already.
func (f *frame) full(size int) bool {
	return f.messages > 0 && f.size-frameHeaderSize+size > frameTarget
}

// seal fills in the header and appends the frame's slices to buffers.
func (f *frame) seal(buffers [][]byte) [][]byte {
	copy(f.bytes, frameMagic)
	binary.LittleEndian.PutUint32(f.bytes[offFrameFlags:], 0)
	binary.LittleEndian.PutUint32(f.bytes[offFrameLength:], uint32(f.size-frameHeaderSize))
	first := len(buffers)
	buffers = raftpb.AppendBuffers(buffers, f.bytes, f.splices)
	crc := crc32.Checksum(f.bytes[:offFrameCRC], castagnoli)
	// The first slice begins with the header: a splice never stands before the first message's own bytes.
	crc = crc32.Update(crc, castagnoli, buffers[first][frameHeaderSize:])
	for _, piece := range buffers[first+1:] {
		crc = crc32.Update(crc, castagnoli, piece)
	}
	binary.LittleEndian.PutUint32(f.bytes[offFrameCRC:], crc)
	return buffers
}

// parseFrameHeader returns the length of the payload that follows a header.
func parseFrameHeader(header []byte, maxLength int) (int, error) {
	if string(header[:len(frameMagic)]) != frameMagic {
		return 0, fmt.Errorf("%w: begins with %q", transport.ErrFrame, header[:len(frameMagic)])
	}
	if flags := binary.LittleEndian.Uint32(header[offFrameFlags:]); flags != 0 {
		return 0, fmt.Errorf("%w: flags %08x are unknown", transport.ErrFrame, flags)
	}
	length := binary.LittleEndian.Uint32(header[offFrameLength:])
	if length == 0 || uint64(length) > uint64(maxLength) {
		return 0, fmt.Errorf("%w: length %d, allowed are 1 to %d", transport.ErrFrame, length, maxLength)
	}
	return int(length), nil
}

// checkFrame compares the checksum of a whole frame, header included.
func checkFrame(whole []byte) error {
	computed := crc32.Checksum(whole[:offFrameCRC], castagnoli)
	computed = crc32.Update(computed, castagnoli, whole[frameHeaderSize:])
	if stored := binary.LittleEndian.Uint32(whole[offFrameCRC:]); computed != stored {
		return fmt.Errorf("%w: checksum %08x, stored %08x", transport.ErrFrame, computed, stored)
	}
	return nil
}
