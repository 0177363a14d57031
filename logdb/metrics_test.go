package logdb

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// Each value is in the bucket that ends at or behind it, the one before ends before it, and no bucket is wider than a quarter of its values.
func TestHistogramBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Uint64().Draw(t, "value") >> rapid.IntRange(0, 63).Draw(t, "shift")
		bucket := bucketOf(value)
		if bucket < 0 || bucket >= histogramBuckets {
			t.Fatalf("bucket %d", bucket)
		}
		end := bucketEnd(bucket)
		if end < value || bucket > 0 && bucketEnd(bucket-1) >= value {
			t.Fatalf("%d is in bucket %d, which ends at %d", value, bucket, end)
		}
		if float64(end) > 1.25*float64(value)+1 {
			t.Fatalf("bucket %d of %d ends at %d", bucket, value, end)
		}
	})
	if got := bucketEnd(bucketOf(math.MaxUint64)); got != math.MaxUint64 {
		t.Errorf("the last bucket ends at %d", got)
	}
}

func TestDistribution(t *testing.T) {
	var h Histogram
	if d := h.Distribution(); d.Quantile(0.5) != 0 || d.Mean() != 0 {
		t.Error("an empty one has values")
	}
	for value := range uint64(1000) {
		h.Record(value + 1)
	}
	d := h.Distribution()
	if d.Count != 1000 || d.Max != 1000 || d.Mean() != 500.5 {
		t.Errorf("count %d, max %d, mean %v", d.Count, d.Max, d.Mean())
	}
	for _, p := range []float64{0, 0.01, 0.5, 0.99, 1} {
		want := max(1, 1000*p)
		if got := float64(d.Quantile(p)); got < want || got > 1.25*want+1 {
			t.Errorf("quantile %v is %v", p, got)
		}
	}
}

func TestAllocationsOfMetrics(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Record(77); StartStopwatch().Stop(&h) }); n != 0 {
		t.Errorf("recording allocates %v times", n)
	}
}

func TestShares(t *testing.T) {
	m := Metrics{DiskBytes: 300, LiveBytes: 100}
	if m.SpaceAmplification() != 3 || math.Abs(m.LiveShare()-1.0/3) > 1e-9 {
		t.Errorf("%v, %v", m.SpaceAmplification(), m.LiveShare())
	}
	if m = (Metrics{}); m.SpaceAmplification() != 0 || m.LiveShare() != 0 {
		t.Error("shares of nothing")
	}
	if rate := (&CacheCounters{Hits: 3, Misses: 1}).HitRate(); rate != 0.75 {
		t.Errorf("hit rate %v", rate)
	}
}
