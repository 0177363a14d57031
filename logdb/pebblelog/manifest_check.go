package pebblelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
)

// The layout of Pebble's manifest, as far as it is needed here: blocks of 32 KiB as in its write-ahead log, and chunks
// with a shorter header.
//
//	 4 B       2 B      1 B
//	┌────────┬────────┬──────┬─────────┐
//	│checksum│ length │ type │ payload │      type: 1 a whole record, 2 its first chunk, 3 one in the middle, 4 its last
//	└────────┴────────┴──────┴─────────┘
//	The checksum covers everything from the type on.
const (
	manifestChunkHeader = 7
	manifestChunkWhole  = 1
	manifestChunkFirst  = 2
	manifestChunkLast   = 4
)

const manifestMarker = "marker.manifest."

// checkManifest looks for damage in the manifest that Pebble would take for its end: it stops at the first chunk that it cannot
// read, forgets the tables that are named behind it, and nothing is said. Every record is synced before the next is begun, and
// those that a manifest begins with before it gets its name; so a bad chunk in front of the beginning of another record was
// whole once, and is damaged. What is bad behind the last such beginning may be torn.
//
// Errors are logdb.ErrDamaged, or that the manifest cannot be read.
func checkManifest(system vfs.FS, dir string) error {
	name, err := currentManifest(system, dir)
	if err != nil || name == "" {
		return err
	}
	file, err := system.Open(system.PathJoin(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Pebble's to tell
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	block := make([]byte, logBlock)
	bad := int64(-1)
	for start := int64(0); ; start += logBlock {
		n, err := io.ReadFull(file, block)
		if err != nil && err != io.ErrUnexpectedEOF {
			if err == io.EOF {
				return nil
			}
			return err
		}
		from := 0
		if bad < 0 {
			at, whole := walkManifestBlock(block[:n])
			if whole {
				continue
			}
			bad, from = start+int64(at), at+1
		}
		if witness := findRecord(block[from:n]); witness >= 0 {
			return fmt.Errorf("%w: manifest %s: bytes at offset %d cannot be read, and the record at %d was written after them",
				logdb.ErrDamaged, name, bad, start+int64(from+witness))
		}
	}
}

// currentManifest returns the name of the manifest that the newest marker names, "" if there is none.
func currentManifest(system vfs.FS, dir string) (name string, err error) {
	names, err := system.List(dir)
	if err != nil {
		return "", err
	}
	newest := uint64(0)
	for _, base := range names {
		number, manifest, found := strings.Cut(strings.TrimPrefix(base, manifestMarker), ".")
		iteration, err := strconv.ParseUint(number, 10, 64)
		if strings.HasPrefix(base, manifestMarker) && found && err == nil && (name == "" || iteration > newest) {
			name, newest = manifest, iteration
		}
	}
	return name, nil
}

// walkManifestBlock goes from chunk to chunk. It returns whether it reached the block's end, and otherwise where it stopped.
func walkManifestBlock(block []byte) (bad int, whole bool) {
	at := 0
	for at+manifestChunkHeader <= len(block) {
		length, _, ok := manifestChunkAt(block[at:])
		if !ok {
			return at, false
		}
		at += length
	}
	return at, true
}

// findRecord returns where a record begins, -1 if none does. The length of the bad chunk may be what is bad, so every place is tried.
func findRecord(bytes []byte) int {
	for at := 0; at+manifestChunkHeader <= len(bytes); at++ {
		if _, kind, ok := manifestChunkAt(bytes[at:]); ok && (kind == manifestChunkWhole || kind == manifestChunkFirst) {
			return at
		}
	}
	return -1
}

func manifestChunkAt(bytes []byte) (length int, kind byte, ok bool) {
	kind = bytes[6]
	if kind < manifestChunkWhole || kind > manifestChunkLast {
		return 0, 0, false
	}
	length = manifestChunkHeader + int(binary.LittleEndian.Uint16(bytes[4:]))
	if length > len(bytes) {
		return 0, 0, false
	}
	return length, kind, binary.LittleEndian.Uint32(bytes) == pebbleChecksum(bytes[6:length])
}

// pebbleChecksum is Pebble's: it rotates the sum and adds a constant, so that sums within the payload do not look like one.
func pebbleChecksum(bytes []byte) uint32 {
	sum := checksum(nil, bytes)
	return (sum>>15 | sum<<17) + 0xa282ead8
}
