package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// exportJob saves a state machine on disk to wherever its asker wants it, as a viewStream does to another host. Those in memory have files
// to be copied, and a Save of theirs may stop their Updates, so they have no such job.
type exportJob struct {
	*userJob
	image *rsm.Image
	err   error
}

// Export saves a state machine on disk. write is called on a worker of the pool, with the function that saves: what that one writes is a whole
// snapshot once it has returned without an error. done is called once, with the error of write or why it was not called. The
// function returned asks for an early end. Errors: ErrNoSnapshots for any other state machine, ErrWitness, ErrStopped, ErrInstalling, ErrQuarantined, ErrStuck,
// ErrSnapshotFailed with the cause. Safe for concurrent use.
func (r *Replica) Export(write func(save func(io.Writer) (snapshot.Summary, error)) error, done func(error)) (cancel func(error)) {
	var once sync.Once
	finish := func(err error) { once.Do(func() { guarded(done)(err) }) }
	if err := r.takesSnapshots(); err != nil {
		finish(err)
		return func(error) {}
	}
	if r.machine.Kind() != rsm.KindOnDisk {
		finish(fmt.Errorf("%w: shard %d: its state machine is not on disk", ErrNoSnapshots, r.shardID))
		return func(error) {}
	}
	job := &exportJob{userJob: newUserJob("export of its state machine", r.shardID, r.replicaID)}
	job.replica = r
	job.prepare = func() bool { return r.prepareExport(job) }
	job.run = func() {
		job.err = errors.New("it was not finished")
		job.err = write(func(out io.Writer) (snapshot.Summary, error) { return r.saveExport(job, out) })
	}
	job.after = func() { finish(r.exportOver(job)) }
	job.abandon = func() { finish(fmt.Errorf("%w: shard %d: the export of its state machine", ErrStuck, r.shardID)) }
	if err := r.views.begin(job.userJob); err != nil {
		finish(err)
		return func(error) {}
	}
	r.engine.saving.submit(job.userJob)
	return func(cause error) { r.engine.saving.cancel(job.userJob, cause) }
}

// prepareExport fixes the state. It runs on the apply worker that has the replica.
func (r *Replica) prepareExport(job *exportJob) bool {
	if context.Cause(job.ctx) != nil {
		return false
	}
	if failure := r.machine.Failure(); failure != nil {
		job.err = fmt.Errorf("%w: %w", ErrQuarantined, failure)
		return false
	}
	if job.image, job.err = r.machine.Prepare(job.ctx); job.err != nil {
		job.image = nil
		return false
	}
	r.applyQueue.hold(false)
	return true
}

func (r *Replica) saveExport(job *exportJob, out io.Writer) (snapshot.Summary, error) {
	meta := job.image.Meta()
	meta.ShardID, meta.ReplicaID = r.shardID, r.replicaID
	moving := &movingWriter{to: out, job: job.userJob, yield: r.engine.options.Yield}
	writer, err := snapshot.NewWriter(moving, meta, snapshot.WriterOptions{Compress: r.snapshots.policy.Compress})
	if err == nil {
		err = job.image.Save(job.ctx, writer)
	}
	if err == nil {
		err = context.Cause(job.ctx)
	}
	if err != nil {
		return snapshot.Summary{}, err
	}
	return writer.Close()
}

// exportOver lets go of the state and says what became of the job.
func (r *Replica) exportOver(job *exportJob) error {
	r.views.end(job.userJob)
	if job.image != nil {
		if err := job.image.Close(); err != nil {
			r.engine.options.Logger.Warn("a view was not closed", "shard", r.shardID, "replica", r.replicaID, "error", err)
		}
		r.engine.submitOne(r, r.applyQueue.release())
	}
	cause := context.Cause(job.ctx)
	switch {
	case job.err == nil && job.image != nil:
		return nil
	case cause != nil:
		return cause
	case job.err == nil:
		return r.snapshotError(errors.New("nothing was prepared"))
	}
	return r.snapshotError(job.err)
}

// KeepsFiles says that the replica's snapshots are files: those of a state machine on disk are its own business.
func (r *Replica) KeepsFiles() bool {
	return r.takesSnapshots() == nil && r.machine.Kind() != rsm.KindOnDisk
}
