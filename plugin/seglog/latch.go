package seglog

import (
	"fmt"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/logdb"
)

// latch holds the first failure of a store for good (R9). Safe for concurrent use.
type latch struct {
	err    atomic.Pointer[error]
	failed chan struct{} // closed once err is set
}

// set latches err, unless a failure was latched before.
func (l *latch) set(err error) {
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
