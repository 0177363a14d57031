package simulation

import (
	"testing"
	"time"
)

// BenchmarkRun reports how many seconds of a cluster's life pass in one of the machine's.
func BenchmarkRun(b *testing.B) {
	virtual := time.Duration(0)
	for i := range b.N {
		result, err := Run(Options{Seed: uint64(i), Hosts: 5, Shards: 10, Duration: 20 * time.Second})
		if err != nil || result.Violation != nil {
			b.Fatal(err, result.Violation)
		}
		virtual += result.Virtual
	}
	b.ReportMetric(virtual.Seconds()/b.Elapsed().Seconds(), "virtual-s/s")
}
