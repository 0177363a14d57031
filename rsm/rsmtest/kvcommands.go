package rsmtest

import (
	"fmt"
	"math/rand/v2"

	"github.com/flotilla-raft/flotilla/rsm/kv"
)

// KeyValueCommand draws commands of package kv: for machines that take them.
func KeyValueCommand(random *rand.Rand) []byte {
	key := fmt.Appendf(nil, "key %d", random.IntN(12))
	value, expected := fmt.Append(nil, random.IntN(4)), fmt.Append(nil, random.IntN(4))
	switch random.IntN(8) {
	case 0:
		return kv.Delete(key)
	case 1:
		return kv.PutIfAbsent(key, value)
	case 2, 3:
		return kv.CompareAndSet(key, expected, value)
	case 4:
		return kv.CompareAndDelete(key, expected)
	case 5:
		return []byte("no command")
	}
	return kv.Put(key, value)
}

// KeyValueQueries ask a machine that takes the queries of package kv for all that it has.
func KeyValueQueries() []any {
	return []any{kv.Range{Limit: -1}, kv.Size{}, kv.Get{Key: "key 3"}, kv.Range{From: "key 2", To: "key 7", Limit: 3}}
}
