package logdb

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// histogramBuckets: values below 4 have a bucket each, every power of two above has four.
const histogramBuckets = 252

// Histogram counts values by size, to a quarter of a power of two. The zero value is empty. Safe for concurrent use; Record neither allocates
// nor waits.
type Histogram struct {
	buckets  [histogramBuckets]atomic.Uint64
	sum, max atomic.Uint64
}

func bucketOf(value uint64) int {
	if value < 4 {
		return int(value)
	}
	exponent := bits.Len64(value) - 1
	return 4*(exponent-1) + int(value>>(exponent-2)&3)
}

// bucketEnd returns the largest value of a bucket.
func bucketEnd(bucket int) uint64 {
	if bucket < 4 {
		return uint64(bucket)
	}
	exponent := bucket/4 + 1
	return (uint64(4+bucket%4)+1)<<(exponent-2) - 1
}

// Record counts a value.
func (h *Histogram) Record(value uint64) {
	h.buckets[bucketOf(value)].Add(1)
	h.sum.Add(value)
	for {
		greatest := h.max.Load()
		if value <= greatest || h.max.CompareAndSwap(greatest, value) {
			return
		}
	}
}

// Distribution returns what was counted so far. Values that are recorded meanwhile may be in it in part.
func (h *Histogram) Distribution() Distribution {
	d := Distribution{Sum: h.sum.Load(), Max: h.max.Load()}
	for i := range h.buckets {
		d.buckets[i] = h.buckets[i].Load()
		d.Count += d.buckets[i]
	}
	return d
}

// Distribution is what a Histogram had counted at one moment.
type Distribution struct {
	Count, Sum, Max uint64
	buckets         [histogramBuckets]uint64
}

// Mean returns the mean value, 0 if there is none.
func (d *Distribution) Mean() float64 {
	if d.Count == 0 {
		return 0
	}
	return float64(d.Sum) / float64(d.Count)
}

// Quantile returns a value that a share p of the values, from 0 to 1, does not exceed: it is at most a quarter too large. It is 0
// if there are no values.
func (d *Distribution) Quantile(p float64) uint64 {
	wanted := uint64(math.Ceil(p * float64(d.Count)))
	seen := uint64(0)
	for i, n := range d.buckets {
		if seen += n; seen >= wanted && seen > 0 {
			return min(bucketEnd(i), d.Max)
		}
	}
	return d.Max
}

// Since returns what was counted after an earlier look at the same histogram. Max stays that of all values.
func (d *Distribution) Since(earlier *Distribution) *Distribution {
	since := Distribution{Count: d.Count - earlier.Count, Sum: d.Sum - earlier.Sum, Max: d.Max}
	for i := range d.buckets {
		since.buckets[i] = d.buckets[i] - earlier.buckets[i]
	}
	return &since
}

// Add adds what another histogram has counted.
func (d *Distribution) Add(other *Distribution) {
	d.Count += other.Count
	d.Sum += other.Sum
	d.Max = max(d.Max, other.Max)
	for i := range d.buckets {
		d.buckets[i] += other.buckets[i]
	}
}
