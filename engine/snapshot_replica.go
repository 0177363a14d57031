package engine

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// replicaSnapshots is what a replica has to do with snapshots of itself.
type replicaSnapshots struct {
	meter snapshotMeter // owned by the apply worker
	// asked says that a snapshot is under way or wanted. The apply worker sets it when one is due, so that it asks once.
	asked  atomic.Bool
	policy SnapshotPolicy

	mu       sync.Mutex
	job      *snapshotJob
	waiting  []func(uint64, error) // who wants to know what becomes of job
	next     []func(uint64, error) // who asked when job was prepared already, and wants one that is not older than the question
	failures int                   // in a row
	ended    error                 // not nil: why none is taken any more
	newest   snapshot.Name         // the last one that was taken or recovered from
	length   uint64                // of its file
	// verification reads a snapshot that somebody doubts.
	verification *userJob
}

// snapshotJob is a snapshot that is being taken.
type snapshotJob struct {
	*userJob
	prepared bool // under replicaSnapshots.mu: what is applied from now on is not in it
	nothing  bool // was applied since the last one, which is the outcome
	held     bool // the apply queue counts it as a view; owned by whoever has the job
	paused   bool // and is paused for it
	image    *rsm.Image
	pending  *snapshot.Pending
	summary  snapshot.Summary
	index    uint64 // of the outcome
	err      error
}

// takesSnapshots says whether there can be any of this replica, or why not.
func (r *Replica) takesSnapshots() error {
	switch kind := r.machine.Kind(); {
	case r.witness:
		return ErrWitness
	case kind == rsm.KindReplayed:
		return fmt.Errorf("%w: shard %d", ErrNoSnapshots, r.shardID)
	case kind != rsm.KindOnDisk && r.engine.options.Snapshots == nil:
		return fmt.Errorf("%w: the host keeps none", ErrNoSnapshots)
	}
	return nil
}

// Snapshot takes a snapshot and calls done once with its index: everything that was applied before the call is in it. For a
// state machine on disk it is a Sync. If nothing was applied since the last one, that one is the answer. Errors: ErrNoSnapshots, ErrWitness,
// ErrStopped, ErrInstalling, ErrQuarantined, ErrDiskFull, ErrSnapshotFailed with the cause. Safe for concurrent use.
func (r *Replica) Snapshot(done func(index uint64, err error)) {
	done = guardedValue(done)
	if err := r.takesSnapshots(); err != nil {
		done(0, err)
		return
	}
	r.askSnapshot(done)
}

// snapshotDue asks for one that the policy wants, once until that one is over. It is called by the apply worker, and by the watch.
func (r *Replica) snapshotDue() {
	if !r.snapshots.asked.Swap(true) {
		r.askSnapshot(nil)
	}
}

// askSnapshot begins a snapshot, or joins the one under way if that is not prepared yet.
func (r *Replica) askSnapshot(done func(uint64, error)) {
	s := &r.snapshots
	s.mu.Lock()
	switch {
	case s.ended != nil:
		ended := s.ended
		s.mu.Unlock()
		if done != nil {
			done(0, ended)
		}
		return
	case s.job != nil && s.job.prepared && done != nil:
		s.next = append(s.next, done)
		s.mu.Unlock()
		return
	case done != nil:
		s.waiting = append(s.waiting, done)
	}
	var begun *snapshotJob
	if s.job == nil {
		begun = r.newSnapshotJob()
		s.job = begun
		s.asked.Store(true)
	}
	s.mu.Unlock()
	if begun != nil {
		r.engine.saving.submit(begun.userJob)
	}
}

// retrySnapshot is the watch's: what failed is tried again, unless another one was taken meanwhile.
func (e *Engine) retrySnapshot(r *Replica) {
	s := &r.snapshots
	s.mu.Lock()
	wanted := s.failures > 0
	s.mu.Unlock()
	if wanted {
		r.askSnapshot(nil)
	}
}

// endSnapshots lets no further snapshot begin and cancels what is under way. Acts that are queued behind wait for its end.
func (r *Replica) endSnapshots(cause error) {
	s := &r.snapshots
	s.mu.Lock()
	s.ended = cause
	job, next, verification := s.job, s.next, s.verification
	s.next = nil
	s.mu.Unlock()
	for _, done := range next {
		done(0, cause)
	}
	if verification != nil {
		r.engine.saving.cancel(verification, cause)
	}
	if job != nil {
		r.engine.saving.cancel(job.userJob, cause)
	}
}

// recoveredFrom says that the replica's newest snapshot is one that it has recovered from while it runs. It is called where Apply is.
func (r *Replica) recoveredFrom(name snapshot.Name, length uint64) {
	s := &r.snapshots
	s.mu.Lock()
	s.newest, s.length = name, length
	s.mu.Unlock()
	s.meter.begin(length)
}

// reopen lets snapshots be taken again.
func (s *replicaSnapshots) reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = nil
	s.asked.Store(false)
}

// renew begins with nothing, for a replica that begins anew. The meter is the apply worker's, which has nothing to do yet.
func (s *replicaSnapshots) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.failures, s.newest, s.length = nil, 0, snapshot.Name{}, 0
	s.asked.Store(false)
	s.meter.begin(0)
}

// snapshotOver ends a job: whoever waits is answered, and who asked too late for it gets another one.
func (r *Replica) snapshotOver(job *snapshotJob) {
	s := &r.snapshots
	e := r.engine
	failed := job.err != nil && !errors.Is(job.err, rsm.ErrNothingApplied) && !errors.Is(job.err, ErrStopped) && !errors.Is(job.err, ErrInstalling)
	s.mu.Lock()
	s.job = nil
	waiting, next := s.waiting, s.next
	s.waiting, s.next = nil, nil
	again := s.ended == nil && len(next) > 0
	if failed {
		s.failures++
	} else {
		s.failures = 0
	}
	failures, ended := s.failures, s.ended != nil
	if !again && (!failed || ended) {
		s.asked.Store(false)
	}
	s.mu.Unlock()
	e.reportSnapshot(r, job, failed)
	for _, done := range waiting {
		done(job.index, job.err)
	}
	for _, done := range next {
		r.askSnapshot(done)
	}
	switch {
	case ended:
	case !failed:
		r.syncAgain()
	case r.machine.Failure() == nil:
		e.watch.later(r, failures)
	}
	if job.held {
		if job.paused {
			e.submitOne(r, r.applyQueue.resume())
		}
		e.submitOne(r, r.applyQueue.release())
	}
}

// reportSnapshot counts, logs and publishes what became of a job.
func (e *Engine) reportSnapshot(r *Replica, job *snapshotJob, failed bool) {
	event := Event{Kind: EventSnapshotTaken, ShardID: r.shardID, ReplicaID: r.replicaID, Index: job.index, Err: job.err}
	switch {
	case failed:
		event.Kind = EventSnapshotFailed
		e.options.Logger.Warn("snapshot failed", "shard", r.shardID, "replica", r.replicaID, "error", job.err)
	case job.err != nil || job.nothing:
		return
	case r.machine.Kind() == rsm.KindOnDisk:
		e.counts.syncs.Add(1)
	default:
		e.counts.snapshots.Add(1)
		e.counts.snapshotBytes.Add(job.summary.Bytes)
	}
	e.events.publish(event)
}

// snapshotCounts are totals.
type snapshotCounts struct {
	snapshots, snapshotBytes, syncs, recoveries, compactions   atomic.Uint64
	streamsBegun, streamsSent, streamsFailed, streamsRestarted atomic.Uint64
	streamsReceived, receivesFailed, installs                  atomic.Uint64
	streamBytesSent, streamBytesAgain, streamBytesReceived     atomic.Uint64
	chunksDamaged, chunksStray                                 atomic.Uint64
}
