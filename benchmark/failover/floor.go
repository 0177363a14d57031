package failover

import (
	"math"
	"time"
)

// floor is what the timeouts alone allow; the package comment derives it.
type floor struct {
	base      time.Duration
	survivors int // voters that are left
}

// median is the median outage over shards.
func (f floor) median() time.Duration {
	return f.scaled(1 - math.Pow(0.5, 1/float64(f.survivors)))
}

// greatest is the expected maximum over so many shards: with y = 1−x the least of n values whose distribution is y^m, whose mean is
// the integral of (1−y^m)^n, a Beta function.
func (f floor) greatest(shards int) time.Duration {
	m, n := 1/float64(f.survivors), float64(shards)
	a, _ := math.Lgamma(1 + m)
	b, _ := math.Lgamma(n + 1)
	c, _ := math.Lgamma(n + 1 + m)
	return f.scaled(1 - math.Exp(a+b-c))
}

func (f floor) scaled(x float64) time.Duration {
	return f.base + time.Duration(x*float64(f.base))
}
