package tcp

import (
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// backoff yields the pauses between attempts to connect: doubling from a minimum to a maximum, each drawn between half of
// the nominal pause and all of it, so that the peers of a restarted host do not come back in step.
type backoff struct {
	least, most time.Duration
	failures    int
	random      *rand.Rand
}

func newBackoff(least, most time.Duration, seed uint64, address string, lane uint8) backoff {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(address))
	return backoff{least: least, most: most, random: rand.New(rand.NewPCG(seed, hash.Sum64()+uint64(lane)))}
}

// next returns the pause after one more failure.
func (b *backoff) next() time.Duration {
	nominal := b.most
	if b.failures < 32 {
		nominal = min(b.most, b.least<<b.failures)
		if nominal < b.least { // the shift overflowed
			nominal = b.most
		}
	}
	b.failures++
	return nominal/2 + time.Duration(b.random.Int64N(int64(nominal/2)+1))
}

// reset is called when a connection has proved itself.
func (b *backoff) reset() { b.failures = 0 }
