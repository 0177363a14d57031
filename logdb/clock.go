package logdb

import "time"

// Stopwatch measures how long something takes, for metrics: nothing that a store does depends on it. The zero value measures nothing.
type Stopwatch struct{ began time.Time }

// StartStopwatch starts one.
func StartStopwatch() Stopwatch { return Stopwatch{time.Now()} }

// Stop records the nanoseconds since the start. Safe on a copy.
func (s Stopwatch) Stop(into *Histogram) {
	if !s.began.IsZero() {
		into.Record(uint64(max(0, time.Since(s.began))))
	}
}
