package snapshot

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Reader reads one snapshot from its beginning, section by section, checking everything. After an error every call returns that
// error.
type Reader struct {
	in      io.Reader
	digest  digest
	decoder *zstd.Decoder
	summary Summary

	kind     Kind // of the section that Next returned
	sections int  // that Next returned
	ended    bool // that section has no more blocks
	head     blockHead
	pending  bool   // head and stored are the next block, checked
	block    []byte // plain bytes that were not handed out
	stored   []byte
	plain    []byte
	done     bool // the footer agreed
	err      error
}

// Section is one section of a snapshot; it is valid until the next call of Next.
type Section struct {
	Kind Kind
	// Name is that of a file, empty for other sections.
	Name string

	reader *Reader
	number int
}

// NewReader reads the header. Errors: ErrForeign, ErrVersion, ErrTruncated, ErrDamaged, those of in.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: in}
	fixed := make([]byte, fixedHeader)
	if err := r.read(fixed, "header"); err != nil {
		return nil, err
	}
	length, err := parseFixed(fixed)
	if err != nil {
		return nil, err
	}
	header := make([]byte, fixedHeader+length+4)
	copy(header, fixed)
	if err := r.read(header[fixedHeader:], "header"); err != nil {
		return nil, err
	}
	version, meta, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	r.summary.Meta, r.digest = meta, newDigest(version)
	r.digest.head(header)
	r.ended = true
	return r, nil
}

// Meta returns the metadata.
func (r *Reader) Meta() raftpb.SnapshotMeta { return r.summary.Meta }

// Summary returns what was read; it is complete once Next has returned io.EOF.
func (r *Reader) Summary() Summary { return r.summary }

// read fills data.
func (r *Reader) read(data []byte, what string) error {
	n, err := io.ReadFull(r.in, data)
	r.summary.Bytes += uint64(n)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %s at byte %d", ErrTruncated, what, r.summary.Bytes)
	}
	return fmt.Errorf("snapshot: read: %w", err)
}

// Next goes to the next section, or returns io.EOF once the footer has agreed with all that was read. What was left of the section
// before is ErrUsage: whoever recovers has to take all of it.
func (r *Reader) Next() (Section, error) {
	if r.err == nil && !r.ended {
		var space [1]byte
		if n, err := r.readSection(space[:]); n > 0 {
			r.err = fmt.Errorf("%w: section %s was not read to its end", ErrUsage, r.kind)
		} else if err != nil && !errors.Is(err, io.EOF) {
			r.err = err
		}
	}
	if r.err == nil && !r.pending && !r.done {
		r.err = r.readNext()
	}
	if r.err != nil {
		return Section{}, r.err
	}
	if r.done {
		return Section{}, io.EOF
	}
	if !r.head.kind.follows(r.kind) {
		r.err = fmt.Errorf("%w: block %d: section %s after %s", ErrDamaged, r.summary.Blocks+1, r.head.kind, r.kind)
		return Section{}, r.err
	}
	r.kind, r.ended = r.head.kind, false
	r.sections++
	section := Section{Kind: r.kind, reader: r, number: r.sections}
	if r.kind != KindFileName {
		return section, nil
	}
	return r.file()
}

// file reads a name, which is one block, and goes to the file's section. A file without content has no block of its own.
func (r *Reader) file() (Section, error) {
	if r.err = r.takeBlock(); r.err != nil {
		return Section{}, r.err
	}
	name := string(r.block)
	r.block = nil
	if len(name) > MaxNameBytes {
		r.err = fmt.Errorf("%w: block %d: a name of %d bytes, want at most %d", ErrDamaged, r.summary.Blocks, len(name), MaxNameBytes)
		return Section{}, r.err
	}
	if r.err = r.readNext(); r.err != nil {
		return Section{}, r.err
	}
	r.kind = KindFile
	r.ended = r.done || r.head.kind != KindFile
	return Section{Kind: KindFile, Name: name, reader: r, number: r.sections}, nil
}

// readNext reads and checks the next block, or the footer. The block waits: what section it belongs to, and that the one before
// has ended, is known only once its checksum is.
func (r *Reader) readNext() error {
	var space [footerSize]byte
	if err := r.readMark(space[:1]); err != nil {
		return err
	}
	if space[0] == footerMark {
		return r.readFooter(space[:])
	}
	number := r.summary.Blocks + 1
	if err := r.read(space[1:blockHeader], fmt.Sprintf("block %d", number)); err != nil {
		return err
	}
	head, err := parseBlock(space[:blockHeader])
	if err != nil {
		return fmt.Errorf("block %d: %w", number, err)
	}
	if cap(r.stored) < int(head.stored) {
		r.stored = make([]byte, head.stored)
	}
	r.stored = r.stored[:head.stored]
	if err := r.read(r.stored, fmt.Sprintf("block %d", number)); err != nil {
		return err
	}
	r.digest.head(space[:blockHeader])
	r.digest.stored(r.stored)
	r.digest.endBlock()
	computed := head
	if computed.append(space[:0], r.stored); computed.sum != head.sum {
		return fmt.Errorf("%w: block %d: checksum is %08x, computed is %08x", ErrDamaged, number, head.sum, computed.sum)
	}
	r.head, r.pending = head, true
	return nil
}

// readMark reads the byte that tells a block from the footer.
func (r *Reader) readMark(mark []byte) error {
	n, err := io.ReadFull(r.in, mark)
	r.summary.Bytes += uint64(n)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: no footer at byte %d", ErrTruncated, r.summary.Bytes)
	}
	if err != nil {
		return fmt.Errorf("snapshot: read: %w", err)
	}
	return nil
}

func (r *Reader) readFooter(space []byte) error {
	r.summary.Digest = r.digest.result()
	if err := r.read(space[1:], "footer"); err != nil {
		return err
	}
	f, err := parseFooter(space)
	if err != nil {
		return err
	}
	if err := f.agrees(&r.summary); err != nil {
		return err
	}
	r.done = true
	return nil
}

// Read implements io.Reader for the section.
func (s Section) Read(data []byte) (int, error) {
	if s.reader.sections != s.number {
		return 0, fmt.Errorf("%w: section %s is over", ErrUsage, s.Kind)
	}
	return s.reader.readSection(data)
}

// readSection hands out bytes of the current section, io.EOF at its end.
func (r *Reader) readSection(data []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	for len(r.block) == 0 {
		if r.ended {
			return 0, io.EOF
		}
		if !r.pending {
			if r.err = r.readNext(); r.err != nil {
				return 0, r.err
			}
		}
		if r.done || r.head.kind != r.kind {
			r.ended = true
			return 0, io.EOF
		}
		if r.err = r.takeBlock(); r.err != nil {
			return 0, r.err
		}
	}
	n := copy(data, r.block)
	r.block = r.block[n:]
	return n, nil
}

// takeBlock makes the block that waits the current one.
func (r *Reader) takeBlock() error {
	r.pending = false
	r.block = r.stored
	if r.head.flags&flagCompressed != 0 {
		if err := r.decompress(); err != nil {
			return fmt.Errorf("%w: block %d: %w", ErrDamaged, r.summary.Blocks+1, err)
		}
	}
	r.summary.Blocks++
	r.summary.PlainBytes += uint64(len(r.block))
	return nil
}

func (r *Reader) decompress() (err error) {
	if r.decoder == nil {
		r.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxBlockBytes), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return err
		}
	}
	if cap(r.plain) < int(r.head.plain) {
		r.plain = make([]byte, 0, r.head.plain)
	}
	r.plain, err = r.decoder.DecodeAll(r.stored, r.plain[:0:r.head.plain])
	if err == nil && len(r.plain) != int(r.head.plain) {
		err = fmt.Errorf("%d bytes decompressed, want %d", len(r.plain), r.head.plain)
	}
	r.block = r.plain
	return err
}

// Verify reads a whole file and returns what it holds. progress, if not nil, is told the bytes that were read so far.
func Verify(in io.Reader, progress func(bytes uint64)) (Summary, error) {
	r, err := NewReader(in)
	if err != nil {
		return Summary{}, err
	}
	buffer := make([]byte, DefaultBlockBytes)
	for {
		section, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.summary, nil
		}
		if err != nil {
			return r.summary, err
		}
		for {
			_, err := section.Read(buffer)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return r.summary, err
			}
			if progress != nil {
				progress(r.summary.Bytes)
			}
		}
	}
}
