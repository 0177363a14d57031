package engine

import (
	"fmt"
	"sync"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
)

const (
	// watchEvery and stuckAfter together bound how late a job that stands still is reported: 5 s.
	watchEvery = time.Second
	stuckAfter = 4 * time.Second
	// retryFirst and retryLast are how long it takes until a snapshot that failed is tried again; the pause doubles with each failure.
	retryFirst = time.Second
	retryLast  = 5 * time.Minute
)

// jobWatch is the worker with an eye on the jobs: it reports those that stand still, answers for those that do not end although they were
// canceled, tries failed snapshots again, and asks for the Syncs that are due by the time (sync_interval.go). It never blocks, so that a disk
// which stands still cannot hide what it looks for.
type jobWatch struct {
	engine *Engine
	sig    signal

	mu      sync.Mutex
	retries []retry
	syncs   timedSyncs

	jobs []*userJob // owned by RunOnce
}

// retry is a snapshot that is to be tried again. Its instant is set by RunOnce, so that nobody else has to read a clock.
type retry struct {
	replica *Replica
	pause   time.Duration
	at      raft.Instant
}

func (w *jobWatch) Name() string    { return "watch" }
func (w *jobWatch) Ready() bool     { return w.sig.ready() }
func (w *jobWatch) signal() *signal { return &w.sig }

// later lets a replica's snapshot be tried again.
func (w *jobWatch) later(r *Replica, failures int) {
	pause := retryFirst << min(failures-1, 20)
	w.mu.Lock()
	w.retries = append(w.retries, retry{replica: r, pause: min(pause, retryLast)})
	w.mu.Unlock()
	w.sig.set()
}

// RunOnce looks at everything that is under way.
func (w *jobWatch) RunOnce(now raft.Instant) raft.Instant {
	w.sig.clear()
	w.jobs = w.engine.streaming.under(w.engine.recovering.under(w.engine.saving.under(w.jobs[:0])))
	for _, job := range w.jobs {
		w.look(now, job)
	}
	next := min(w.retry(now), w.syncsDue(now))
	if len(w.jobs) > 0 {
		next = min(next, now+raft.Instant(watchEvery))
	}
	clear(w.jobs)
	return next
}

func (w *jobWatch) look(now raft.Instant, job *userJob) {
	if moved := job.moved.Load(); job.seenAt == 0 || moved != job.seen || job.heldUp != nil && job.heldUp() {
		job.seen, job.seenAt, job.reported = moved, now, false
	}
	if !job.reported && now-job.seenAt >= raft.Instant(stuckAfter) {
		job.reported = true
		err := fmt.Errorf("%w: shard %d, replica %d: %s has not moved for %s", ErrMachineStuck, job.shardID, job.replicaID, job.what, stuckAfter)
		w.engine.options.Logger.Error("a state machine stands still", "shard", job.shardID, "replica", job.replicaID, "in", job.what, "error", err)
		w.engine.events.publish(Event{Kind: EventMachineStuck, ShardID: job.shardID, ReplicaID: job.replicaID, Err: err})
	}
	if job.ctx.Err() == nil || job.abandoned {
		return
	}
	if job.canceledAt == 0 {
		job.canceledAt = now
	}
	if now-job.canceledAt >= raft.Instant(w.engine.options.MaxStopWait) {
		job.abandoned = true
		if job.abandon != nil {
			job.abandon()
		}
	}
}

// retry asks for the snapshots that are due again, and returns when the next one will be.
func (w *jobWatch) retry(now raft.Instant) (next raft.Instant) {
	var due []*Replica
	next = raft.Never
	w.mu.Lock()
	kept := w.retries[:0]
	for _, again := range w.retries {
		if again.at == 0 {
			again.at = now + raft.Instant(again.pause)
		}
		if again.at <= now {
			due = append(due, again.replica)
			continue
		}
		next = min(next, again.at)
		kept = append(kept, again)
	}
	clear(w.retries[len(kept):])
	w.retries = kept
	w.mu.Unlock()
	for _, r := range due {
		w.engine.retrySnapshot(r)
	}
	return next
}
