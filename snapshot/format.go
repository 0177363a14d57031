package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Errors of snapshots, for errors.Is; texts name the place.
var (
	// ErrDamaged says that bytes are not what was written: a checksum, a length or the digest does not fit.
	ErrDamaged = errors.New("snapshot: damaged")
	// ErrTruncated says that the file ends before its footer.
	ErrTruncated = errors.New("snapshot: cut off")
	// ErrVersion says that the file is of a later version than this program reads. The checksum of its header holds: a version byte
	// that has rotted is ErrDamaged.
	ErrVersion = errors.New("snapshot: version is not supported")
	// ErrForeign says that the file is no snapshot at all.
	ErrForeign = errors.New("snapshot: not a snapshot file")
	// ErrUsage says that a Writer or Reader was used against its rules.
	ErrUsage = errors.New("snapshot: wrong use")
)

const (
	magic       = "FLTLSNAP"
	magicEnd    = "FLTLDONE"
	version     = 2 // what is written; 1 is read, too
	fixedHeader = 8 + 2 + 2 + 4
	blockHeader = 1 + 1 + 2 + 4 + 4 + 4
	blockSummed = blockHeader - 4
	footerSize  = 1 + 8 + 8 + 32 + 4 + 8
	footerMark  = 0xff

	flagCompressed = 1

	// MaxBlockBytes bounds a block, plain and stored: what a reader has to hold in memory.
	MaxBlockBytes = 4 << 20
	// DefaultBlockBytes is the size at which a block is ended.
	DefaultBlockBytes = 256 << 10
	// MaxMetaBytes bounds the encoded metadata.
	MaxMetaBytes = 2 << 20
	// MaxNameBytes bounds the name of an external file.
	MaxNameBytes = 1 << 10
)

// Kind says what a section holds.
type Kind uint8

// The kinds of sections, in the order in which a file has them. Every one may be missing.
const (
	KindSessions Kind = 1
	KindState    Kind = 2
	KindFileName Kind = 3
	KindFile     Kind = 4
)

var kindNames = [...]string{KindSessions: "sessions", KindState: "state", KindFileName: "file name", KindFile: "file"}

// String returns the kind's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// follows says whether a section may come behind another: sessions, state, then a name before each file.
func (k Kind) follows(last Kind) bool {
	switch k {
	case KindSessions:
		return last == 0
	case KindState:
		return last == 0 || last == KindSessions
	case KindFileName:
		return last != KindFileName
	case KindFile:
		return last == KindFileName
	}
	return false
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockHead is the header of a block.
type blockHead struct {
	kind          Kind
	flags         uint8
	stored, plain uint32
	sum           uint32
}

func (h *blockHead) append(dst, stored []byte) []byte {
	start := len(dst)
	dst = append(dst, byte(h.kind), h.flags, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, h.stored)
	dst = binary.LittleEndian.AppendUint32(dst, h.plain)
	h.sum = crc32.Update(crc32.Checksum(dst[start:], castagnoli), castagnoli, stored)
	return binary.LittleEndian.AppendUint32(dst, h.sum)
}

// parseBlock reads a block's header; the checksum needs the stored bytes.
func parseBlock(data []byte) (h blockHead, err error) {
	h = blockHead{
		kind: Kind(data[0]), flags: data[1],
		stored: binary.LittleEndian.Uint32(data[4:]), plain: binary.LittleEndian.Uint32(data[8:]), sum: binary.LittleEndian.Uint32(data[12:]),
	}
	switch {
	case h.kind < KindSessions || h.kind > KindFile:
		err = fmt.Errorf("%w: block kind %d", ErrDamaged, h.kind)
	case h.flags&^flagCompressed != 0 || data[2] != 0 || data[3] != 0:
		err = fmt.Errorf("%w: block flags %#x", ErrDamaged, data[1:4])
	case h.stored == 0 || h.plain == 0 || h.stored > MaxBlockBytes || h.plain > MaxBlockBytes:
		err = fmt.Errorf("%w: block of %d bytes, %d plain, want 1 to %d", ErrDamaged, h.stored, h.plain, MaxBlockBytes)
	case h.flags == 0 && h.stored != h.plain:
		err = fmt.Errorf("%w: plain block of %d bytes, %d stored", ErrDamaged, h.plain, h.stored)
	}
	return h, err
}

// footer is the end of a file.
type footer struct {
	blocks, plain uint64
	digest        [32]byte
}

func (f *footer) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, footerMark)
	dst = binary.LittleEndian.AppendUint64(dst, f.blocks)
	dst = binary.LittleEndian.AppendUint64(dst, f.plain)
	dst = append(dst, f.digest[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
	return append(dst, magicEnd...)
}

func parseFooter(data []byte) (f footer, err error) {
	summed := footerSize - 4 - 8
	if sum := crc32.Checksum(data[:summed], castagnoli); sum != binary.LittleEndian.Uint32(data[summed:]) ||
		string(data[footerSize-8:]) != magicEnd {
		return f, fmt.Errorf("%w: footer", ErrDamaged)
	}
	f.blocks, f.plain = binary.LittleEndian.Uint64(data[1:]), binary.LittleEndian.Uint64(data[9:])
	copy(f.digest[:], data[17:])
	return f, nil
}

// agrees compares the footer with what was read.
func (f *footer) agrees(s *Summary) error {
	switch {
	case f.blocks != s.Blocks || f.plain != s.PlainBytes:
		return fmt.Errorf("%w: footer: it counts %d blocks of %d bytes, there are %d of %d", ErrDamaged, f.blocks, f.plain, s.Blocks, s.PlainBytes)
	case f.digest != s.Digest:
		return fmt.Errorf("%w: footer: digest is %x, computed is %x", ErrDamaged, f.digest, s.Digest)
	}
	return nil
}

// parseFixed reads the first bytes of a file and returns the length of its metadata. The version is not looked at before the checksum of
// the header was, which is why every version has a header of this shape and within these limits: one flipped bit makes a later version of
// any, and a start that is refused for it waits for a program that nobody has, where an older snapshot or the other replicas would have served.
func parseFixed(fixed []byte) (int, error) {
	if string(fixed[:8]) != magic {
		return 0, fmt.Errorf("%w: it begins with %q, want %q", ErrForeign, fixed[:8], magic)
	}
	length := binary.LittleEndian.Uint32(fixed[12:])
	if length > MaxMetaBytes {
		return 0, fmt.Errorf("%w: header: metadata of %d bytes, want at most %d", ErrDamaged, length, MaxMetaBytes)
	}
	return int(length), nil
}

// parseHeader reads a whole header: its checksum, then its version, then what depends on that.
func parseHeader(header []byte) (v uint16, meta raftpb.SnapshotMeta, err error) {
	summed := header[:len(header)-4]
	if crc32.Checksum(summed, castagnoli) != binary.LittleEndian.Uint32(header[len(summed):]) {
		return 0, meta, fmt.Errorf("%w: header: checksum", ErrDamaged)
	}
	if v = binary.LittleEndian.Uint16(header[8:]); v < 1 || v > version {
		return 0, meta, fmt.Errorf("%w: version %d, this program reads versions 1 to %d", ErrVersion, v, version)
	}
	if meta, err = raftpb.DecodeSnapshotMeta(summed[fixedHeader:]); err != nil {
		return 0, raftpb.SnapshotMeta{}, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	if err := checkMeta(&meta); err != nil {
		return 0, meta, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	return v, meta, nil
}
