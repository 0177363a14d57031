package benchmark

import (
	"encoding/binary"
	"math/bits"
)

// MinPayload is the size of the smallest command in bytes: its name and one random word.
const MinPayload = 16

const (
	sequenceBits = 40
	maxSequence  = 1<<sequenceBits - 1
	maxClients   = 1 << (64 - sequenceBits)
)

// verifiedBytes is how much of a command's random part a state machine draws again and compares. What lies behind is compared
// between the replicas by their hashes only: drawing a kibibyte three times would cost as much as replicating it.
const verifiedBytes = 64

// writeCommand fills buffer with the command that the client sends as its sequence-th one. The length of buffer is that of the
// command, at least MinPayload.
func writeCommand(buffer []byte, key uint64, client uint32, sequence uint64) {
	name := uint64(client)<<sequenceBits | sequence
	binary.LittleEndian.PutUint64(buffer, name)
	state := mix(key ^ name)
	rest := buffer[8:]
	for len(rest) >= 8 {
		binary.LittleEndian.PutUint64(rest, mix(state))
		state += golden
		rest = rest[8:]
	}
	last := mix(state)
	for i := range rest {
		rest[i] = byte(last >> (8 * i))
	}
}

// readCommand returns who sent a command. ok is false if its bytes are not those that writeCommand made with this key.
func readCommand(command []byte, key uint64) (client uint32, sequence uint64, ok bool) {
	if len(command) < MinPayload {
		return 0, 0, false
	}
	name := binary.LittleEndian.Uint64(command)
	state := mix(key ^ name)
	rest := command[8:]
	if len(rest) > verifiedBytes {
		rest = rest[:verifiedBytes]
	}
	var wrong uint64
	for len(rest) >= 8 {
		wrong |= binary.LittleEndian.Uint64(rest) ^ mix(state)
		state += golden
		rest = rest[8:]
	}
	last := mix(state)
	for i := range rest {
		wrong |= uint64(rest[i] ^ byte(last>>(8*i)))
	}
	return uint32(name >> sequenceBits), name & maxSequence, wrong == 0
}

// shardKey makes the bytes of each shard's commands its own, so that a command applied by the wrong shard shows as damaged.
func shardKey(seed uint64, shard int) uint64 { return mix(mix(seed) + uint64(shard)*golden) }

const golden = 0x9e3779b97f4a7c15

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection whose output passes for random.
func mix(x uint64) uint64 {
	x += golden
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// chain extends a hash by one log index and the bytes stored there. Long commands go through four independent lanes, since a
// single chain of multiplications would wait for each of them.
func chain(hash, index uint64, command []byte) uint64 {
	hash = fold(hash^index, uint64(len(command))^chainSeed)
	if len(command) >= 64 {
		lane0, lane1, lane2, lane3 := hash, hash^1, hash^2, hash^3
		for len(command) >= 64 {
			lane0 = fold(lane0^binary.LittleEndian.Uint64(command), binary.LittleEndian.Uint64(command[8:])^chainSeed)
			lane1 = fold(lane1^binary.LittleEndian.Uint64(command[16:]), binary.LittleEndian.Uint64(command[24:])^chainSeed)
			lane2 = fold(lane2^binary.LittleEndian.Uint64(command[32:]), binary.LittleEndian.Uint64(command[40:])^chainSeed)
			lane3 = fold(lane3^binary.LittleEndian.Uint64(command[48:]), binary.LittleEndian.Uint64(command[56:])^chainSeed)
			command = command[64:]
		}
		hash = fold(fold(lane0, lane1^chainSeed)^lane2, lane3^golden)
	}
	for len(command) >= 16 {
		hash = fold(hash^binary.LittleEndian.Uint64(command), binary.LittleEndian.Uint64(command[8:])^chainSeed)
		command = command[16:]
	}
	for _, b := range command {
		hash = fold(hash^uint64(b), chainSeed)
	}
	return hash
}

const chainSeed = 0xa0761d6478bd642f

func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}
