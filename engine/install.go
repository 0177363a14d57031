package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// How a snapshot is installed (R25). A crash may come between any two steps:
//
//  1. the core asks (raft.Install); the receiver spools what the source sends into a pending file, which a start removes;
//  2. the whole is checked, synced and published under its name. What is known at a start of such a file, if no more happened, is that the
//     log says nothing of it: it is removed (snapshot_start.go);
//  3. the core begins its log anew behind the snapshot, in one write that says so (Save.Installing). From then on a start
//     recovers from the file before it believes the state machine. The leader is answered behind this write, and only that answer
//     lets it replicate again;
//  4. when that write is durable, behind everything that was handed to the state machine before, and when nobody is inside it any more: it
//     recovers, as a job that is watched; one on disk syncs too. A core hands over nothing meanwhile, so nothing is applied;
//  5. the core is told, and writes that it is done (Save.Installed). The file is now the newest snapshot of the replica; of a state
//     machine on disk it is of no more use once that write is durable, and is removed.
//
// A failure before step 3 leaves the replica as it was, and the leader tries again, later, or with another source. A state machine that fails to
// recover is quarantined (R24).
//
// Who owns what: installation belongs to the step worker. Its job runs elsewhere, and comes back by a control.

// installation is what is between steps 3 and 5.
type installation struct {
	summary snapshot.Summary
	name    snapshot.Name
	number  uint64   // of the write of step 3, and of step 5 for who removes the file; 0 until it is drained
	job     *userJob // of step 4; nil before
	done    bool     // step 5 is under way
}

// beginReceive is step 1.
func (w *StepWorker) beginReceive(r *Replica, in raft.Install) {
	e := w.engine
	if in.Source == 0 {
		e.receiverOf(r.shardID).endSilent(r)
		return
	}
	stream := &incoming{replica: r, install: in, reason: raftpb.ReasonFailed}
	w.refreshRoutes(r)
	for i := range r.routes {
		if r.routes[i].replicaID == in.Source {
			stream.peer = r.routes[i].outbox.peer
			stream.address = stream.peer.Address()
		}
	}
	if stream.peer == nil && in.Address != "" {
		stream.peer, stream.address = e.peer(in.Address), in.Address
	}
	switch {
	case stream.peer == nil:
		stream.reason, stream.refused = raftpb.ReasonNotMember, fmt.Errorf("%w: shard %d: it is not known where replica %d is", ErrStreamFailed, r.shardID, in.Source)
	case e.options.Snapshots == nil:
		stream.refused = fmt.Errorf("%w: shard %d: the host keeps none", ErrNoSnapshots, r.shardID)
	case r.machine.Kind() == rsm.KindReplayed:
		stream.refused = fmt.Errorf("%w: shard %d: its state machine recovers from none", ErrNoSnapshots, r.shardID)
	}
	if stream.refused == nil {
		e.events.publish(Event{Kind: EventSnapshotOffered, ShardID: r.shardID, ReplicaID: r.replicaID, Peer: in.Source, Index: in.LogIndex})
	}
	r.receiving = stream
	r.applyQueue.hold(false) // whoever would close or exchange the state machine waits for the end of the stream
	e.receiverOf(r.shardID).begin(stream)
}

// receiveFailed tells the core that nothing came of an installation, unless another stream has been begun since, or waits to be.
func (w *StepWorker) receiveFailed(stream *incoming, reason raftpb.Reason, err error) {
	r := stream.replica
	e := w.engine
	e.counts.receivesFailed.Add(1)
	e.options.Logger.Warn("a snapshot was not received", "shard", r.shardID, "replica", r.replicaID, "error", err)
	e.events.publish(Event{
		Kind: EventStreamFailed, ShardID: r.shardID, ReplicaID: r.replicaID, Peer: stream.install.Source, Index: stream.index, Reason: reason, Err: err,
	})
	defer w.guard(r)
	if r.receiving == stream && w.enter(r) {
		r.core.SnapshotFailed(w.now, reason)
	}
}

// receivedSnapshot is step 3: a snapshot is durable here.
func (w *StepWorker) receivedSnapshot(stream *incoming, summary snapshot.Summary) {
	r := stream.replica
	defer w.guard(r)
	if r.install != nil && !r.install.done || !w.enter(r) {
		return
	}
	if !r.core.SnapshotReceived(w.now, summary.Meta) {
		return // of no use any more. Its file is a snapshot like any other, or removed by the next start
	}
	r.install = &installation{
		summary: summary, name: snapshot.Name{ShardID: r.shardID, ReplicaID: r.replicaID, Index: summary.Meta.Index},
	}
	r.pending.failAll(errLeaderChangedUnknown) // whatever became of them is in the snapshot
	w.engine.events.publish(Event{
		Kind: EventSnapshotReceived, ShardID: r.shardID, ReplicaID: r.replicaID, Peer: stream.install.Source, Index: summary.Meta.Index,
	})
}

// noteInstall finds the write that an installation waits for among those that were just drained.
func (r *Replica) noteInstall(save *raftpb.Save) {
	switch i := r.install; {
	case i == nil || i.number != 0:
	case !i.done && save.Installing != nil || i.done && save.Installed:
		i.number = save.Number
	}
}

// installSaved goes on with an installation whose write is durable.
func (w *StepWorker) installSaved(r *Replica, number uint64) {
	i := r.install
	if i == nil || i.number == 0 || number < i.number {
		return
	}
	if i.done {
		r.install = nil
		w.engine.keeper.removeUpTo(logdb.ReplicaKey{ShardID: r.shardID, ReplicaID: r.replicaID}, i.name.Index, func(err error) {
			if err != nil {
				w.engine.options.Logger.Warn("a snapshot is not removed", "shard", r.shardID, "replica", r.replicaID, "error", err)
			}
		})
		return
	}
	if i.job == nil {
		w.beginRecovery(r, i)
	}
}

// beginRecovery is step 4. No snapshot is taken meanwhile: one that is under way is of no more use.
func (w *StepWorker) beginRecovery(r *Replica, i *installation) {
	e := w.engine
	r.endSnapshots(ErrInstalling)
	r.endViews(ErrInstalling)
	job := newUserJob("recovery of its state machine", r.shardID, r.replicaID)
	i.job = job
	job.replica = r
	err := fmt.Errorf("%w: shard %d: it did not come to its end", ErrFenced, r.shardID)
	job.run = func() { err = r.recoverFile(job, i.name) }
	r.recovering.Store(true)
	job.after = func() {
		r.recovering.Store(false)
		if cause := context.Cause(job.ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		if err == nil && r.machine.Kind() != rsm.KindOnDisk {
			r.recoveredFrom(i.name, i.summary.Bytes)
			r.retain()
		}
		r.worker.control(func(w *StepWorker) { w.recovered(r, i, err) })
		schedule := r.applyQueue.resume()
		e.submitOne(r, r.applyQueue.release() || schedule)
	}
	if r.applyQueue.push(applyItem{last: func() {
		r.applyQueue.hold(true)
		e.recovering.submit(job)
	}}) {
		w.applied = append(w.applied, r)
	}
}

// recoverFile lets the state machine recover from a snapshot. It runs on a job's worker, and nobody else is in the state machine but Lookups.
func (r *Replica) recoverFile(job *userJob, name snapshot.Name) error {
	directory := r.engine.options.Snapshots
	file, err := directory.Open(name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshotDamaged, err)
	}
	defer func() { _ = file.Close() }() // it was only read
	reader, err := snapshot.NewReader(&movingReader{from: file, job: job, yield: r.engine.options.Yield})
	if err == nil {
		err = r.machine.Recover(job.ctx, reader)
	}
	if err == nil && r.machine.Kind() == rsm.KindOnDisk {
		err = r.machine.Sync()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", directory.Path(name), err)
	}
	r.engine.counts.recoveries.Add(1)
	return nil
}

// recovered is step 5.
func (w *StepWorker) recovered(r *Replica, i *installation, err error) {
	if r.install != i || r.absent() {
		return
	}
	e := w.engine
	if err != nil {
		r.install = nil
		err = fmt.Errorf("%w: shard %d: %w", ErrInstallFailed, r.shardID, err)
		failure := r.machine.Quarantine(err) // unless it is already, by what it returned
		e.events.publish(Event{Kind: EventStreamFailed, ShardID: r.shardID, ReplicaID: r.replicaID, Index: i.name.Index, Err: err})
		w.quarantine(r, failure)
		return
	}
	i.done, i.number = true, 0
	r.handedOver, r.toldApplied = i.name.Index, i.name.Index
	r.snapshots.reopen()
	r.views.reopen()
	if r.machine.Kind() != rsm.KindOnDisk {
		r.install = nil
	}
	e.counts.installs.Add(1)
	e.events.publish(Event{Kind: EventSnapshotInstalled, ShardID: r.shardID, ReplicaID: r.replicaID, Index: i.name.Index})
	defer w.guard(r)
	if w.enter(r) {
		r.core.SnapshotInstalled(w.now)
	}
}
