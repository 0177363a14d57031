package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// How a snapshot is taken:
//
//  1. the job waits for a place in the pool (userJob). Nothing is prepared before, for a prepared view costs memory, and a state
//     machine that cannot be saved beside Updates stands still;
//  2. on the apply worker, between two Updates: the image is prepared. For a machine of the simple kind the apply queue is
//     paused until the image is closed;
//  3. on a worker of the pool: the image is written to a pending file and closed, the file is synced;
//  4. the keeper publishes all that are finished with one sync of the directory, and takes old ones away (snapshot_keeper.go);
//  5. the step worker lets the log before it go, by a record of its own that needs no sync: until it is durable the log is longer than
//     it would have to be.
//
// A crash between any two of them leaves an older snapshot and the log behind it, or the new one and log that is not needed any more, which
// the next start lets go.
//
// A state machine on disk has neither image nor file: 3 is its Sync, and 5 follows it.

// newSnapshotJob makes the job of a snapshot.
func (r *Replica) newSnapshotJob() *snapshotJob {
	what := "Save of its state machine"
	if r.machine.Kind() == rsm.KindOnDisk {
		what = "Sync of its state machine"
	}
	job := &snapshotJob{userJob: newUserJob(what, r.shardID, r.replicaID)}
	job.replica = r
	job.err = fmt.Errorf("%w: shard %d: it was not finished", ErrSnapshotFailed, r.shardID)
	job.prepare = func() bool { return r.prepareSnapshot(job) }
	job.run = func() {
		if job.image == nil {
			r.syncMachine(job)
		} else {
			r.writeSnapshot(job)
		}
	}
	job.after = func() { r.afterSnapshot(job) }
	return job
}

// prepareSnapshot is step 2. It runs on the apply worker that has the replica.
func (r *Replica) prepareSnapshot(job *snapshotJob) bool {
	r.snapshots.mu.Lock()
	job.prepared = true
	length, newest := r.snapshots.length, r.snapshots.newest.Index
	r.snapshots.mu.Unlock()
	r.snapshots.meter.begin(length)
	onDisk := r.machine.Kind() == rsm.KindOnDisk
	switch {
	case job.ctx.Err() != nil:
		job.err = context.Cause(job.ctx)
		return false
	case r.machine.Failure() != nil:
		job.err = r.machine.Failure()
		return false
	case r.machine.Applied() == newest && newest > 0:
		job.index, job.err, job.nothing = newest, nil, true
		return false
	case !onDisk && r.engine.full.Load():
		job.err = fmt.Errorf("%w: shard %d: no snapshot is begun", ErrDiskFull, r.shardID)
		return false
	case onDisk:
		job.held = true
		r.applyQueue.hold(false)
		return true
	}
	image, err := r.machine.Prepare(job.ctx)
	if err != nil {
		job.err = r.snapshotError(err)
		return false
	}
	job.image, job.held = image, true
	job.paused = r.machine.Kind() == rsm.KindMemory
	r.applyQueue.hold(job.paused)
	return true
}

func (r *Replica) snapshotError(cause error) error {
	return fmt.Errorf("%w: shard %d, replica %d: %w", ErrSnapshotFailed, r.shardID, r.replicaID, cause)
}

// writeSnapshot is step 3. Updates go on as soon as the image is closed, before the file is synced.
func (r *Replica) writeSnapshot(job *snapshotJob) {
	err := r.saveImage(job)
	if closed := job.image.Close(); closed != nil {
		r.engine.options.Logger.Warn("a view was not closed", "shard", r.shardID, "replica", r.replicaID, "error", closed)
	}
	if job.paused {
		job.paused = false
		r.engine.submitOne(r, r.applyQueue.resume())
	}
	if err == nil {
		err = job.pending.Sync()
	}
	if err == nil {
		err = context.Cause(job.ctx) // nobody wants it any more
	}
	if err == nil {
		job.err = nil
		return
	}
	job.err = r.snapshotError(err)
	if cause := context.Cause(job.ctx); cause != nil {
		job.err = cause
	}
	r.abandonPending(job)
}

func (r *Replica) abandonPending(job *snapshotJob) {
	if job.pending == nil {
		return
	}
	if err := job.pending.Abandon(); err != nil {
		r.engine.options.Logger.Warn("what is left of a snapshot stays until the next start", "shard", r.shardID, "error", err)
	}
	job.pending = nil
}

// saveImage writes the image into a pending file.
func (r *Replica) saveImage(job *snapshotJob) (err error) {
	if job.pending, err = r.engine.options.Snapshots.Create(); err != nil {
		return err
	}
	meta := job.image.Meta()
	meta.ShardID, meta.ReplicaID = r.shardID, r.replicaID
	out := &movingWriter{to: job.pending, job: job.userJob, yield: r.engine.options.Yield}
	if r.engine.paced && !job.paused {
		clock := r.engine.options.Clock
		out.pace = &pacer{clock: clock, share: r.engine.options.SnapshotShare, resumed: clock.Now()}
	}
	writer, err := snapshot.NewWriter(out, meta, snapshot.WriterOptions{Compress: r.snapshots.policy.Compress})
	if err != nil {
		return err
	}
	if err := job.image.Save(job.ctx, writer); err != nil {
		return err
	}
	job.summary, err = writer.Close()
	return err
}

// movingWriter shows the watch that a job moves, and lets others have a turn.
type movingWriter struct {
	to    io.Writer
	job   *userJob
	yield func() bool
	pace  *pacer // nil: not paced
}

// Write implements io.Writer.
func (w *movingWriter) Write(data []byte) (int, error) {
	w.yield()
	n, err := w.to.Write(data)
	w.job.moved.Add(uint64(n))
	if w.pace != nil {
		w.pace.pause(w.job.ctx)
	}
	return n, err
}

// movingReader is movingWriter for recoveries. It keeps the first error of the source, for a state machine may hide it in its own.
type movingReader struct {
	from  io.Reader
	job   *userJob
	yield func() bool
	err   error
}

// Read implements io.Reader.
func (r *movingReader) Read(data []byte) (int, error) {
	r.yield()
	n, err := r.from.Read(data)
	r.job.moved.Add(uint64(n))
	if err != nil && !errors.Is(err, io.EOF) && r.err == nil {
		r.err = err
	}
	return n, err
}

// syncMachine is step 3 of a state machine on disk. What fails there is the machine itself (R24).
func (r *Replica) syncMachine(job *snapshotJob) {
	if err := r.machine.Sync(); err != nil {
		job.err = err
		failure := r.machine.Failure()
		r.worker.control(func(w *StepWorker) { w.quarantine(r, failure) })
		return
	}
	if job.index, job.err = r.machine.SyncedIndex(), nil; job.index == 0 {
		job.err = fmt.Errorf("%w: shard %d", ErrNothingApplied, r.shardID)
	}
}

// afterSnapshot hands a finished one to the keeper, or the end of a job without a file to whoever waits for it.
func (r *Replica) afterSnapshot(job *snapshotJob) {
	if job.pending != nil && job.err == nil {
		r.engine.keeper.publish(job)
		return
	}
	if job.image != nil {
		_ = job.image.Close() // again, unless the job broke off
	}
	if !job.prepared { // it was canceled before it had a place
		job.err = context.Cause(job.ctx)
	}
	if job.err == nil && job.image == nil && job.held {
		r.compactBehind(job.index, job.index)
	}
	r.snapshotOver(job)
}
