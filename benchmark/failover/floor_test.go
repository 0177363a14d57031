package failover

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The closed forms agree with what draws give.
func TestFloorAgreesWithDraws(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const base, rounds = 200 * time.Millisecond, 20_000
	for _, test := range []struct{ survivors, shards int }{{2, 16}, {2, 1}, {4, 10}, {1, 3}} {
		f := floor{base, test.survivors}
		var all []time.Duration
		var sum time.Duration
		for range rounds {
			var greatest time.Duration
			for range test.shards {
				least := 2 * base
				for range test.survivors {
					least = min(least, base+time.Duration(random.Int64N(int64(base))))
				}
				all = append(all, least)
				greatest = max(greatest, least)
			}
			sum += greatest
		}
		slices.Sort(all)
		near(t, "median", f.median(), all[len(all)/2])
		near(t, "greatest", f.greatest(test.shards), sum/rounds)
	}
}

func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if (got - want).Abs() > 2*time.Millisecond {
		t.Errorf("%s is %v, draws give %v", what, got, want)
	}
}
