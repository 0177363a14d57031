package engine

import (
	"fmt"
	"sync"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
)

// publishedFreshness is what the core knows of how fresh its state is, for readers on any goroutine. The lock is a leaf; the step worker
// takes it once in a round of heartbeats.
type publishedFreshness struct {
	mu              sync.Mutex
	newest, applied raft.Freshness
	told            raft.Freshness // owned by the step worker: the newest that it published
}

func (r *Replica) publishFreshness() {
	newest, applied := r.core.Freshness()
	if newest == r.freshness.told {
		return
	}
	r.freshness.told = newest
	r.freshness.mu.Lock()
	r.freshness.newest, r.freshness.applied = newest, applied
	r.freshness.mu.Unlock()
}

// FreshAt returns an instant of this host's clock, before which everything that was acknowledged anywhere is in the state that Lookup
// shows; 0 if none is known. Safe for concurrent use.
func (r *Replica) FreshAt() raft.Instant {
	r.freshness.mu.Lock()
	newest, applied := r.freshness.newest, r.freshness.applied
	r.freshness.mu.Unlock()
	if newest.Index <= r.machine.Applied() {
		return newest.At
	}
	return applied.At
}

// StaleRead answers a query from the state that is here, if it can be shown to hold everything that was acknowledged longer than maxAge
// before the call; 0 asks for nothing to be shown. It asks nobody: what is known comes with the leader's heartbeats, so a
// bound below a few heartbeat intervals is seldom met, and a follower that does not hear its leader soon meets none. Errors:
// ErrTooStale, with any bound while the state machine recovers from a snapshot. Safe for concurrent use.
func (r *Replica) StaleRead(query any, maxAge time.Duration) (any, error) {
	if maxAge > 0 {
		r.engine.countSuspension()
		now, fresh := r.engine.options.Clock.Now(), r.FreshAt()
		if age := time.Duration(now - fresh); fresh == 0 || age > maxAge {
			known := "nothing is known of its age"
			if fresh != 0 {
				known = fmt.Sprintf("it is known to be at most %s old", age)
			}
			return nil, fmt.Errorf("%w: shard %d: want at most %s, %s", ErrTooStale, r.shardID, maxAge, known)
		}
	}
	if r.recovering.Load() { // what was here is old, and to wait for what comes may take long
		return nil, fmt.Errorf("%w: shard %d: its state machine recovers from a snapshot", ErrTooStale, r.shardID)
	}
	return r.Lookup(query)
}

// countSuspension is for whoever is about to count on the clock's going on while the host is suspended.
func (e *Engine) countSuspension() {
	if e.suspensionCounts.Load() {
		return
	}
	if clock, ok := e.options.Clock.(SuspensionClock); ok {
		clock.CountSuspension()
	}
	e.suspensionCounts.Store(true)
}
