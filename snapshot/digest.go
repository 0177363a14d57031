package snapshot

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/cespare/xxhash/v2"
)

// digest is the digest of a whole file, as its version has it.
//
// Version 1 is the SHA-256 of every byte in front of the footer. That was half of the processor time of a stream, at two gigabytes a second and core: no fast disk
// could be used to more than a fraction. It guards against accidents, and where a file comes from is not its matter, so
// version 2 is the SHA-256 of the header and, for each block, of its head and the XXH64 of its stored bytes. With the CRC-32C in the head a block
// that is another one has to agree in 96 bits of two sums of different kinds, and the order of blocks, their number and cut count as before.
type digest struct {
	whole bool // version 1
	sum   hash.Hash
	body  *xxhash.Digest
}

func newDigest(version uint16) digest {
	return digest{whole: version == 1, sum: sha256.New(), body: xxhash.New()}
}

// head takes the file's header, or the head of a block.
func (d *digest) head(data []byte) { _, _ = d.sum.Write(data) } // never fails

// stored takes bytes of a block, in pieces of any size.
func (d *digest) stored(data []byte) {
	if d.whole {
		_, _ = d.sum.Write(data)
		return
	}
	_, _ = d.body.Write(data)
}

// endBlock follows the last bytes of a block.
func (d *digest) endBlock() {
	if d.whole {
		return
	}
	var sum [8]byte
	binary.LittleEndian.PutUint64(sum[:], d.body.Sum64())
	_, _ = d.sum.Write(sum[:])
	d.body.Reset()
}

// result returns the digest of what was taken.
func (d *digest) result() (sum [32]byte) {
	d.sum.Sum(sum[:0])
	return sum
}
