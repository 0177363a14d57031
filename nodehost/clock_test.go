package nodehost

import (
	"testing"

	"github.com/flotilla-raft/flotilla/engine"
)

// The clock starts above 0 and never goes back, also when suspension begins to count.
func TestClockIsMonotonic(t *testing.T) {
	clock := newClock()
	last := clock.Now()
	if last <= 0 {
		t.Fatalf("the first instant is %d", last)
	}
	for i := range 20000 {
		if suspension, ok := clock.(engine.SuspensionClock); ok && i == 10000 {
			suspension.CountSuspension()
		}
		now := clock.Now()
		if now < last {
			t.Fatalf("%d after %d", now, last)
		}
		last = now
	}
}
