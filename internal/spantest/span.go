// Package spantest is for tests of what measures for a span of time.
//
// A test wants the span to be short, and something to happen in it. On a machine that is busy with something else, or whose disk takes its time, nothing
// may: the processes get their turns too late. That is no fault of what is tested, and a longer span shows it.
package spantest

import (
	"testing"
	"time"
)

// longest is where a machine is taken to be as fast as it will be.
const longest = 15 * time.Second

// Run measures for a span and, as long as that shows too little, for one four times as long, up to some 15 s; then the test fails with what was lacking.
// measure returns what is lacking, "" if nothing is. What no length of the span excuses it reports itself.
func Run(t testing.TB, least time.Duration, measure func(span time.Duration) (lacking string)) {
	t.Helper()
	for span := least; ; span *= 4 {
		lacking := measure(span)
		if lacking == "" {
			return
		}
		if span >= longest {
			t.Fatalf("in %v: %s", span, lacking)
		}
		t.Logf("in %v: %s", span, lacking)
	}
}
