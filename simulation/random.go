package simulation

import "math"

// random is a splitmix64 generator. Everything that a run draws comes from forks of one, each for one purpose, so that
// more draws for one purpose do not change what another draws.
type random struct{ state uint64 }

func mix(z uint64) uint64 {
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	return mix(r.state)
}

// fork returns a generator of its own.
func (r *random) fork() random { return random{state: r.next()} }

// below returns a number from 0 to n-1; 0 for n at most 1.
func (r *random) below(n int) int {
	if n <= 1 {
		return 0
	}
	return int(r.next() % uint64(n))
}

// between returns a number from least to most, both included.
func (r *random) between(least, most int64) int64 {
	if most <= least {
		return least
	}
	return least + int64(r.next()%uint64(most-least+1))
}

// unit returns a number from 0 to below 1.
func (r *random) unit() float64 { return float64(r.next()>>11) / (1 << 53) }

func (r *random) chance(p float64) bool { return p > 0 && r.unit() < p }

// exponential returns a waiting time with the given mean.
func (r *random) exponential(mean float64) int64 {
	return int64(-math.Log(1-r.unit()) * mean)
}

func pick[T any](r *random, from []T) T { return from[r.below(len(from))] }
