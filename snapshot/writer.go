package snapshot

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// WriterOptions configure a Writer. The zero value is useful.
type WriterOptions struct {
	// Compress compresses blocks with zstd. Default: blocks are stored plain.
	Compress bool
	// BlockBytes is the size at which a block is ended, at most MaxBlockBytes. Default DefaultBlockBytes.
	BlockBytes int
}

// Summary says what a whole file holds.
type Summary struct {
	Meta   raftpb.SnapshotMeta
	Blocks uint64
	// PlainBytes are those of all sections, Bytes those of the file.
	PlainBytes, Bytes uint64
	// Digest is that of the file but for its footer. It depends on the version of the file.
	Digest [32]byte
}

// Writer writes one snapshot: sessions, state and files, in that order, each at most once but for files. After an error every
// call returns that error.
type Writer struct {
	out      io.Writer
	digest   digest
	encoder  *zstd.Encoder // nil: plain
	limit    int
	block    []byte // of the current section, not written yet
	scratch  []byte
	section  Kind
	last     Kind // of the last section that was begun
	sections int  // begun so far
	summary  Summary
	err      error
	closed   bool
}

// NewWriter writes the header. Errors: ErrUsage for metadata or options out of range, and those of out.
func NewWriter(out io.Writer, meta raftpb.SnapshotMeta, options WriterOptions) (*Writer, error) {
	if options.BlockBytes == 0 {
		options.BlockBytes = DefaultBlockBytes
	}
	encoded := raftpb.AppendSnapshotMeta(nil, meta)
	if options.BlockBytes < 1 || options.BlockBytes > MaxBlockBytes {
		return nil, fmt.Errorf("%w: BlockBytes: %d, want 0 to %d", ErrUsage, options.BlockBytes, MaxBlockBytes)
	}
	if len(encoded) > MaxMetaBytes {
		return nil, fmt.Errorf("%w: metadata of %d bytes, want at most %d", ErrUsage, len(encoded), MaxMetaBytes)
	}
	if err := checkMeta(&meta); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	w := &Writer{out: out, digest: newDigest(version), limit: options.BlockBytes, summary: Summary{Meta: meta}}
	if options.Compress {
		encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
		w.encoder = encoder
	}
	header := append(make([]byte, 0, fixedHeader+len(encoded)+4), magic...)
	header = binary.LittleEndian.AppendUint16(header, version)
	header = binary.LittleEndian.AppendUint16(header, 0)
	header = binary.LittleEndian.AppendUint32(header, uint32(len(encoded)))
	header = append(header, encoded...)
	header = binary.LittleEndian.AppendUint32(header, crc32.Checksum(header, castagnoli))
	w.digest.head(header)
	w.write(header)
	return w, w.err
}

// checkMeta refuses what no replica could use.
func checkMeta(meta *raftpb.SnapshotMeta) error {
	switch {
	case meta.ShardID == 0 || meta.ReplicaID == 0:
		return fmt.Errorf("shard %d, replica %d, want 1 or more", meta.ShardID, meta.ReplicaID)
	case meta.Index == 0 || meta.Term == 0:
		return fmt.Errorf("index %d, term %d, want 1 or more", meta.Index, meta.Term)
	case meta.Kind < raftpb.SnapshotMemory || meta.Kind > raftpb.SnapshotWitness:
		return fmt.Errorf("kind %s, want memory, disk or witness", meta.Kind)
	case meta.Config.Index > meta.Index:
		return fmt.Errorf("membership of entry %d above the index %d", meta.Config.Index, meta.Index)
	}
	return nil
}

// write writes bytes in front of the footer.
func (w *Writer) write(data []byte) {
	if w.err != nil {
		return
	}
	n, err := w.out.Write(data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.err = fmt.Errorf("snapshot: write: %w", err)
		return
	}
	w.summary.Bytes += uint64(n)
}

// Sessions begins the section of the client sessions. What it returns writes into that section until the next one begins.
func (w *Writer) Sessions() (io.Writer, error) { return w.begin(KindSessions) }

// State begins the section of the state machine.
func (w *Writer) State() (io.Writer, error) { return w.begin(KindState) }

// File begins a file under a name, which is only a label for who recovers.
func (w *Writer) File(name string) (io.Writer, error) {
	if name == "" || len(name) > MaxNameBytes {
		return nil, fmt.Errorf("%w: name of %d bytes, want 1 to %d", ErrUsage, len(name), MaxNameBytes)
	}
	if _, err := w.begin(KindFileName); err != nil {
		return nil, err
	}
	w.block = append(w.block, name...) // one block, however small blocks are to be
	return w.begin(KindFile)
}

func (w *Writer) begin(kind Kind) (io.Writer, error) {
	w.flush()
	switch {
	case w.err != nil:
		return nil, w.err
	case w.closed || !kind.follows(w.last):
		return nil, fmt.Errorf("%w: section %s after %s", ErrUsage, kind, w.last)
	}
	w.section, w.last = kind, kind
	w.sections++
	return &sectionWriter{w, kind, w.sections}, nil
}

// sectionWriter writes into one section. An old one is refused.
type sectionWriter struct {
	w      *Writer
	kind   Kind
	number int
}

// Write implements io.Writer.
func (s *sectionWriter) Write(data []byte) (int, error) {
	w := s.w
	if w.closed || w.sections != s.number {
		return 0, fmt.Errorf("%w: write into section %s after its end", ErrUsage, s.kind)
	}
	written := 0
	for len(data) > 0 && w.err == nil {
		n := min(len(data), w.limit-len(w.block))
		w.block = append(w.block, data[:n]...)
		data, written = data[n:], written+n
		if len(w.block) == w.limit {
			w.flush()
		}
	}
	return written, w.err
}

// flush ends the current block.
func (w *Writer) flush() {
	if len(w.block) == 0 || w.err != nil {
		return
	}
	head := blockHead{kind: w.section, plain: uint32(len(w.block)), stored: uint32(len(w.block))}
	stored := w.block
	w.scratch = w.scratch[:0]
	if w.encoder != nil {
		if w.scratch = w.encoder.EncodeAll(w.block, w.scratch); len(w.scratch) < len(w.block) {
			stored, head.stored, head.flags = w.scratch, uint32(len(w.scratch)), flagCompressed
		}
	}
	var space [blockHeader]byte
	encoded := head.append(space[:0], stored)
	w.digest.head(encoded)
	w.digest.stored(stored)
	w.digest.endBlock()
	w.write(encoded)
	w.write(stored)
	w.summary.Blocks++
	w.summary.PlainBytes += uint64(head.plain)
	w.block = w.block[:0]
}

// Close writes the footer. Without it the file is none. It does not sync.
func (w *Writer) Close() (Summary, error) {
	w.flush()
	if w.err != nil {
		return Summary{}, w.err
	}
	if w.closed {
		return Summary{}, fmt.Errorf("%w: closed twice", ErrUsage)
	}
	w.closed = true
	if w.encoder != nil {
		_ = w.encoder.Close() // writes nowhere
	}
	f := footer{blocks: w.summary.Blocks, plain: w.summary.PlainBytes, digest: w.digest.result()}
	end := f.append(nil)
	n, err := w.out.Write(end)
	if err == nil && n < len(end) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.err = fmt.Errorf("snapshot: write: %w", err)
		return Summary{}, w.err
	}
	w.summary.Bytes += uint64(len(end))
	w.summary.Digest = f.digest
	return w.summary, nil
}
