package snapshot

import (
	"fmt"
	"hash/crc32"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Check checks a snapshot that arrives piece by piece, as it is spooled: what Verify does for a file, but that the bytes are pushed, so
// that nobody has to read them back. It does not decompress: a block of which the checksum holds is what its writer wrote.
//
// It belongs to one goroutine. After an error every call returns that error.
type Check struct {
	digest  digest
	summary Summary
	known   bool // the metadata were read

	// What is being read: held grows up to need bytes, then parse looks at them. The stored bytes of a block are not held; body of them are yet
	// to come, and sum is the checksum so far.
	held  []byte
	need  int
	parse func() error
	body  uint32
	sum   uint32
	head  blockHead
	last  Kind // of the block before
	done  bool
	err   error
}

// NewCheck begins a check.
func NewCheck() *Check {
	c := &Check{}
	c.expect(fixedHeader, c.fixed)
	return c
}

func (c *Check) expect(need int, parse func() error) {
	c.held, c.need, c.parse = c.held[:0], need, parse
}

// Meta returns the metadata, once they have come and are what a replica could use.
func (c *Check) Meta() (meta raftpb.SnapshotMeta, known bool) { return c.summary.Meta, c.known }

// Write takes the next bytes. Errors: ErrForeign, ErrVersion, ErrDamaged.
func (c *Check) Write(data []byte) (int, error) {
	taken := 0
	for taken < len(data) && c.err == nil {
		n := c.step(data[taken:])
		taken += n
		c.summary.Bytes += uint64(n)
	}
	return taken, c.err
}

// step takes some of data.
func (c *Check) step(data []byte) int {
	if c.done {
		c.err = fmt.Errorf("%w: bytes behind the footer, at byte %d", ErrDamaged, c.summary.Bytes)
		return 0
	}
	if c.body > 0 {
		n := min(len(data), int(c.body))
		c.sum = crc32.Update(c.sum, castagnoli, data[:n])
		c.digest.stored(data[:n])
		if c.body -= uint32(n); c.body == 0 {
			c.err = c.endBlock()
		}
		return n
	}
	n := min(len(data), c.need-len(c.held))
	c.held = append(c.held, data[:n]...)
	if len(c.held) == c.need {
		c.err = c.parse()
	}
	return n
}

func (c *Check) fixed() error {
	length, err := parseFixed(c.held)
	if err == nil {
		c.need, c.parse = fixedHeader+length+4, c.header // goes on holding what it has
	}
	return err
}

func (c *Check) header() error {
	version, meta, err := parseHeader(c.held)
	c.summary.Meta = meta
	if err != nil {
		return err
	}
	c.digest = newDigest(version)
	c.digest.head(c.held)
	c.known = true
	c.expect(1, c.mark)
	return nil
}

// mark tells a block from the footer.
func (c *Check) mark() error {
	c.need, c.parse = blockHeader, c.blockHead
	if c.held[0] == footerMark {
		c.need, c.parse = footerSize, c.footer
	}
	return nil
}

func (c *Check) blockHead() (err error) {
	number := c.summary.Blocks + 1
	if c.head, err = parseBlock(c.held); err != nil {
		return fmt.Errorf("block %d: %w", number, err)
	}
	// A name behind a name: the file between has no content, and no block.
	if kind := c.head.kind; kind != KindFileName && kind != c.last && !kind.follows(c.last) {
		return fmt.Errorf("%w: block %d: section %s after %s", ErrDamaged, number, c.head.kind, c.last)
	}
	c.digest.head(c.held)
	c.sum = crc32.Checksum(c.held[:blockSummed], castagnoli)
	c.body = c.head.stored // at least 1
	return nil
}

func (c *Check) endBlock() error {
	c.digest.endBlock()
	c.summary.Blocks++
	c.summary.PlainBytes += uint64(c.head.plain)
	c.last = c.head.kind
	c.expect(1, c.mark)
	if c.sum != c.head.sum {
		return fmt.Errorf("%w: block %d: checksum is %08x, computed is %08x", ErrDamaged, c.summary.Blocks, c.head.sum, c.sum)
	}
	return nil
}

func (c *Check) footer() error {
	f, err := parseFooter(c.held)
	if err != nil {
		return err
	}
	c.summary.Digest = c.digest.result()
	if err := f.agrees(&c.summary); err != nil {
		return err
	}
	c.done = true
	return nil
}

// Close says whether a whole snapshot was written, and what it holds. Errors: that of Write, ErrTruncated.
func (c *Check) Close() (Summary, error) {
	if c.err == nil && !c.done {
		c.err = fmt.Errorf("%w: no footer at byte %d", ErrTruncated, c.summary.Bytes)
	}
	return c.summary, c.err
}
