package pebblelog

import (
	"fmt"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/logdb"
)

// latch holds the first failure of a store for good (R9). Safe for concurrent use; set may be called with any of Pebble's locks
// held, so it waits for nobody.
type latch struct {
	err atomic.Pointer[error]
	// failures counts calls of set.
	failures atomic.Int64
	// failed is closed once err is set.
	failed chan struct{}
}

func newLatch() *latch { return &latch{failed: make(chan struct{})} }

// set latches err, unless a failure was latched before.
func (l *latch) set(err error) {
	l.failures.Add(1)
	err = fmt.Errorf("%w: %w", logdb.ErrFailed, err)
	if l.err.CompareAndSwap(nil, &err) {
		close(l.failed)
	}
}

// get returns the latched failure, which wraps logdb.ErrFailed, or nil.
func (l *latch) get() error {
	if err := l.err.Load(); err != nil {
		return *err
	}
	return nil
}
