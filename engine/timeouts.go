package engine

import (
	"fmt"
	"time"
)

// SetTimeouts changes the replica's election timeout and heartbeat interval while it runs, 0 standing for the default of each, and calls
// done once. They are not stored: a replica that is started again begins with its options. The hosts of a shard need not
// change together; raft.Core.SetTimeouts says in which order it is safe. Errors: ErrInvalidOptions, ErrStopped, ErrFenced. Safe for
// concurrent use.
func (r *Replica) SetTimeouts(election, heartbeat time.Duration, done func(error)) {
	done = guarded(done)
	r.worker.control(func(w *StepWorker) {
		if r.stopped || r.fenced {
			done(r.endedErr())
			return
		}
		defer w.guard(r)
		w.enter(r)
		if err := r.core.SetTimeouts(w.now, election, heartbeat); err != nil {
			done(fmt.Errorf("%w: shard %d: %w", ErrInvalidOptions, r.shardID, err))
			return
		}
		r.retimed, r.election, r.heartbeat = true, election, heartbeat
		done(nil)
	})
}
