package engine

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raft"
)

// Whoever sends when it is allowed to, and is late now and then by less than the burst, sends within 10 % of the limit over a second or
// more; and over no time at all more than the limit, the burst and one chunk.
func TestRateProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(10_000, 1<<32).Draw(t, "limit")
		chunk := rapid.Int64Range(1, limit/50).Draw(t, "chunk") // at least 50 chunks a second
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		r := rate{perSecond: limit}
		now := raft.Instant(1e9)
		start, lateAt, total := now, now, int64(0)
		var at, sent []int64
		for now < start+raft.Instant(2e9) && len(at) < 20_000 {
			bytes := 1 + random.Int64N(chunk)
			r.spend(now, int(bytes))
			at, sent, total = append(at, int64(now)), append(sent, bytes), total+bytes
			now = max(now, r.allowed())
			if now-lateAt > 2*rateBurst {
				now += raft.Instant(random.Int64N(int64(rateBurst)))
				lateAt = now
			}
		}
		for first := 0; first < len(at); first += max(1, len(at)/50) {
			window := int64(0)
			for last := first; last < len(at) && last < first+400; last++ {
				window += sent[last]
				if most := float64(limit)*float64(at[last]-at[first]+int64(rateBurst))/1e9 + float64(chunk) + 1; float64(window) > most {
					t.Fatalf("%d bytes in %d ns, at most %.0f are allowed", window, at[last]-at[first], most)
				}
			}
		}
		if elapsed := float64(now-start) / 1e9; elapsed >= 1 {
			if got := float64(total) / elapsed; got > 1.1*float64(limit) || got < 0.9*float64(limit) {
				t.Fatalf("%.0f bytes per second, the limit is %d", got, limit)
			}
		}
	})
}

// No limit never makes anybody wait, and an idle time is made up for by the burst alone.
func TestRateIdle(t *testing.T) {
	free := rate{}
	free.spend(5, 1<<40)
	if free.allowed() > 5 {
		t.Error("no limit makes wait")
	}
	r := rate{perSecond: 1000}
	hour := raft.Instant(3600e9)
	sent := 0
	for r.allowed() <= hour {
		r.spend(hour, 10)
		sent += 10
	}
	if sent != 60 { // 50 ms of 1000 bytes per second, and the chunk that was begun when it was allowed
		t.Errorf("%d bytes at once after an hour of nothing", sent)
	}
}
