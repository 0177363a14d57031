package pebblelog

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/flotilla-raft/flotilla/logdb"
)

// The layout of Pebble's write-ahead log, as far as it is needed here: blocks of 32 KiB, filled with chunks.
//
//	 4 B       2 B      1 B        4 B          8 B
//	┌────────┬────────┬──────────┬────────────┬───────────────┬─────────┐
//	│checksum│ length │ encoding │ log number │ synced offset │ payload │
//	└────────┴────────┴──────────┴────────────┴───────────────┴─────────┘
//	The checksum covers everything from the encoding on. Encodings 9 to 12 have this header.
const (
	logBlock       = 32 << 10
	logChunkHeader = 19
	logChunkFirst  = 9
	logChunkLast   = 12
)

// checkNewestLog looks for damage in the newest write-ahead log that Pebble would take for the log's end. Each chunk says up to
// where the log was synced when it was written. When Pebble meets a chunk that it cannot read it looks for such proof
// in the blocks that follow, not in what remains of the same block; so damage in the last block would cost up to 32 KiB
// of acknowledged writes without a word. This looks in the same block. Only what lies beyond every witness is left
// to be torn (R11): the writes of the last sync, and sometimes of the one before, since Pebble notes that a sync has ended a
// moment after it has said so.
//
// Errors are logdb.ErrDamaged, or that the log cannot be read.
func checkNewestLog(fs vfs.FS, dir string) error {
	name, number, err := newestLog(fs, dir)
	if err != nil || name == "" {
		return err
	}
	file, err := fs.Open(fs.PathJoin(dir, name))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	block := make([]byte, logBlock)
	for start := uint64(0); ; start += logBlock {
		n, err := io.ReadFull(file, block)
		if err != nil && err != io.ErrUnexpectedEOF {
			if err == io.EOF {
				return nil
			}
			return err
		}
		bad, whole := walkBlock(block[:n], number)
		if whole {
			continue
		}
		if witness, found := findWitness(block[:n], bad, start, number); found {
			return fmt.Errorf("%w: write-ahead log %s: bytes at offset %d cannot be read, and the chunk at %d says that they were synced",
				logdb.ErrDamaged, name, start+uint64(bad), witness)
		}
		return nil // the blocks that follow are Pebble's to check
	}
}

// newestLog returns the name of the write-ahead log with the highest number, "" if there is none.
func newestLog(fs vfs.FS, dir string) (newest string, number uint32, err error) {
	names, err := fs.List(dir)
	if err != nil {
		return "", 0, err
	}
	for _, name := range names {
		base, isLog := strings.CutSuffix(name, ".log")
		n, err := strconv.ParseUint(base, 10, 32)
		if isLog && err == nil && (newest == "" || uint32(n) > number) {
			newest, number = name, uint32(n)
		}
	}
	return newest, number, nil
}

// walkBlock goes from chunk to chunk. It returns whether it reached the block's end, and otherwise where it stopped.
func walkBlock(block []byte, number uint32) (bad int, whole bool) {
	at := 0
	for at+logChunkHeader <= len(block) {
		length, ok := chunkAt(block, at, number)
		if !ok {
			return at, false
		}
		at += length
	}
	return at, true
}

// findWitness returns the offset in the log of a chunk behind the bad one which says that the bad one had been synced. The
// length of the bad one may be what is bad, so every place is tried; the checksum leaves no doubt.
func findWitness(block []byte, bad int, start uint64, number uint32) (uint64, bool) {
	for at := bad + 1; at+logChunkHeader <= len(block); at++ {
		if _, ok := chunkAt(block, at, number); ok && binary.LittleEndian.Uint64(block[at+11:]) > start+uint64(bad) {
			return start + uint64(at), true
		}
	}
	return 0, false
}

// chunkAt returns the length of the chunk that begins at an offset of a block, if one of the log with that number does.
func chunkAt(block []byte, at int, number uint32) (length int, ok bool) {
	if encoding := block[at+6]; encoding < logChunkFirst || encoding > logChunkLast {
		return 0, false
	}
	if binary.LittleEndian.Uint32(block[at+7:]) != number {
		return 0, false // what is left of a log whose file was recycled
	}
	length = logChunkHeader + int(binary.LittleEndian.Uint16(block[at+4:]))
	if at+length > len(block) {
		return 0, false
	}
	return length, binary.LittleEndian.Uint32(block[at:]) == pebbleChecksum(block[at+6:at+length])
}
