package engine

import (
	"fmt"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/raft"
)

// stopWatch is a replica that is being stopped, from when it says nothing any more until its state machine is closed. What it waits
// for cannot be interrupted: a user's Update, a write that the disk has in hand. Therefore whoever stops it is answered with
// ErrStuck after Options.MaxStopWait, and told what it waits for; the replica goes on stopping, and its shard can be started
// again on this host only once it has stopped.
type stopWatch struct {
	replica  *Replica
	done     func(error)
	deadline raft.Instant
	renewing bool        // it was being started anew when the stop came, which waits for that
	written  atomic.Bool // its last write is over; what remains is the state machine's
	ended    atomic.Bool // done was called
}

// watchStop begins to watch. All have the same patience, so the list is in the order of the deadlines.
func (w *StepWorker) watchStop(r *Replica, done func(error)) *stopWatch {
	s := &stopWatch{replica: r, done: done, deadline: w.now + raft.Instant(w.engine.options.MaxStopWait)}
	w.stops = append(w.stops, s)
	return s
}

func (s *stopWatch) end(err error) {
	if !s.ended.Swap(true) {
		s.done(err)
	}
}

// expireStops answers those that have waited for too long, and returns when the next one will have.
func (w *StepWorker) expireStops() (next raft.Instant) {
	for len(w.stops) > 0 {
		s := w.stops[0]
		if !s.ended.Load() {
			if s.deadline > w.now {
				return s.deadline
			}
			w.stuck(s)
		}
		w.stops[0] = nil
		w.stops = w.stops[1:]
	}
	w.stops = nil
	return raft.Never
}

func (w *StepWorker) stuck(s *stopWatch) {
	where := "its writes are not done"
	switch {
	case s.renewing && s.replica.renewal != nil:
		where = "it is healed, and its state machine has not returned or its writes are not done"
	case s.written.Load():
		where = "its state machine has not returned"
	}
	w.engine.options.Logger.Error("a replica does not stop", "shard", s.replica.shardID, "replica", s.replica.replicaID, "because", where)
	s.end(&unknown{fmt.Errorf("%w: shard %d, replica %d: %s after %s", ErrStuck, s.replica.shardID, s.replica.replicaID, where,
		w.engine.options.MaxStopWait)}) // it goes on stopping
}
