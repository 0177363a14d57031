package items

import (
	"encoding/binary"
	"math/bits"
)

// Sum is a sum over a set of items: how many, and the sum of a hash of each. It does not depend on an order, so that a change of one item costs one hash,
// whatever the size of the set, and sets that were built in different ways compare.
type Sum struct{ Count, Hash uint64 }

// Add counts an item in.
func (s *Sum) Add(key, value []byte) {
	s.Count++
	s.Hash += hash(key, value)
}

// Remove takes an item out that was counted in.
func (s *Sum) Remove(key, value []byte) {
	s.Count--
	s.Hash -= hash(key, value)
}

const (
	seed  = 0xa0761d6478bd642f
	other = 0xe7037ed1a0b428db
)

// hash is not meant to withstand those who choose items to deceive it: it is to notice what went apart by itself.
func hash(key, value []byte) uint64 {
	h := fold(uint64(len(key))^seed, uint64(len(value))^other)
	return fold(absorb(absorb(h, key), value)^seed, other)
}

// absorb takes the last bytes of data with zeros behind them: lengths are in the hash already.
func absorb(h uint64, data []byte) uint64 {
	for len(data) >= 16 {
		h = fold(h^binary.LittleEndian.Uint64(data), binary.LittleEndian.Uint64(data[8:])^seed)
		data = data[16:]
	}
	var rest [16]byte
	copy(rest[:], data)
	return fold(h^binary.LittleEndian.Uint64(rest[:]), binary.LittleEndian.Uint64(rest[8:])^seed)
}

func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}
