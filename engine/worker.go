package engine

import (
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/raft"
)

// Worker is the unit of scheduling: a plain method that takes its inputs, does what is due and returns. In production
// each worker has a goroutine that runs loop; a test or a simulator calls RunOnce itself, and only when production would:
// when Ready says so or when the deadline of the last RunOnce has come (R29).
type Worker interface {
	// Name says which worker it is, for logs and traces.
	Name() string
	// Ready reports whether the worker was signalled since its last RunOnce began.
	Ready() bool
	// RunOnce does what is due at now and returns the instant at which it wants to run again by itself: now or earlier
	// means at once, raft.Never means only when signalled. Not safe for concurrent use.
	RunOnce(now raft.Instant) (deadline raft.Instant)

	signal() *signal
}

// signal is a worker's ready flag together with the means to wake its goroutine.
//
// Whoever hands a worker something appends it to the worker's inbox first and calls set after; RunOnce calls clear
// first and swaps the inbox out after. So an input is either seen by the RunOnce that cleared the flag, or its set
// comes after that clear and the flag stays up for the next one. The flag alone decides: a token left over in the
// channel only makes the loop look again.
type signal struct {
	flag  atomic.Bool
	ended atomic.Bool // the worker is not run any more; set by its own RunOnce
	wake  chan struct{}
}

func newSignal() signal { return signal{wake: make(chan struct{}, 1)} }

// set raises the flag; only the call that raises it pays for the channel.
func (s *signal) set() {
	if s.flag.Swap(true) {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *signal) clear() { s.flag.Store(false) }

func (s *signal) ready() bool { return s.flag.Load() }
