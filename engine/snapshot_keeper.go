package engine

import (
	"context"
	"sync"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// snapshotKeeper is the worker that changes the directory of snapshots. Everything that waits is published with one sync of the
// directory; what is removed for good waits for one, too.
type snapshotKeeper struct {
	engine *Engine
	sig    signal

	mu       sync.Mutex
	finished []*snapshotJob
	removals []snapshotRemoval
}

type snapshotRemoval struct {
	key  logdb.ReplicaKey
	done func(error)
}

func (k *snapshotKeeper) Name() string    { return "snapshot keeper" }
func (k *snapshotKeeper) Ready() bool     { return k.sig.ready() }
func (k *snapshotKeeper) signal() *signal { return &k.sig }

// publish makes a snapshot, whose file is whole and synced, part of the directory.
func (k *snapshotKeeper) publish(job *snapshotJob) {
	k.mu.Lock()
	k.finished = append(k.finished, job)
	k.mu.Unlock()
	k.sig.set()
}

// remove removes the snapshots of a replica that does not run, and calls done once that is durable.
func (k *snapshotKeeper) remove(key logdb.ReplicaKey, done func(error)) {
	if k.engine.options.Snapshots == nil {
		done(nil)
		return
	}
	k.mu.Lock()
	k.removals = append(k.removals, snapshotRemoval{key, done})
	k.mu.Unlock()
	k.sig.set()
}

// RunOnce does everything that waits.
func (k *snapshotKeeper) RunOnce(raft.Instant) raft.Instant {
	k.sig.clear()
	k.mu.Lock()
	finished, removals := k.finished, k.removals
	k.finished, k.removals = nil, nil
	k.mu.Unlock()
	for _, removal := range removals {
		removal.done(k.engine.options.Snapshots.Remove(removal.key.ShardID, removal.key.ReplicaID))
	}
	if len(finished) > 0 {
		k.publishAll(finished)
	}
	return raft.Never
}

// publishAll publishes those that are still wanted. If it fails for one it has failed for all of them as far as anybody is told: which of
// the names are durable is not known.
func (k *snapshotKeeper) publishAll(finished []*snapshotJob) {
	var list []snapshot.Finished
	for _, job := range finished {
		if cause := context.Cause(job.ctx); cause != nil {
			job.err = cause
			job.replica.abandonPending(job)
			continue
		}
		list = append(list, snapshot.Finished{Pending: job.pending, Name: job.name()})
	}
	var err error
	if len(list) > 0 {
		err = k.engine.options.Snapshots.Publish(list...)
	}
	for _, job := range finished {
		if job.err == nil && err != nil {
			job.err = job.replica.snapshotError(err)
		}
		if job.err == nil {
			job.replica.published(job)
		}
		job.replica.snapshotOver(job)
	}
}

func (j *snapshotJob) name() snapshot.Name {
	return snapshot.Name{ShardID: j.shardID, ReplicaID: j.replicaID, Index: j.image.Meta().Index}
}

// published follows a snapshot that is durable: older ones go, and the log that only they needed.
func (r *Replica) published(job *snapshotJob) {
	name := job.name()
	job.index = name.Index
	s := &r.snapshots
	s.mu.Lock()
	s.newest, s.length = name, job.summary.Bytes
	s.mu.Unlock()
	r.retain()
}

// retain removes old snapshots, and lets the log go that is needed by none of the others.
func (r *Replica) retain() {
	directory := r.engine.options.Snapshots
	if err := directory.Retain(r.shardID, r.replicaID, r.snapshots.policy.Retain); err != nil {
		r.engine.options.Logger.Warn("an old snapshot is not removed", "shard", r.shardID, "replica", r.replicaID, "error", err)
	}
	if names := directory.List(r.shardID, r.replicaID); len(names) > 0 {
		r.compactBehind(names[0].Index, names[len(names)-1].Index)
	}
}

// compact puts the records of log that is let go of behind the saves of an iteration. Nothing waits for them.
func (w *StepWorker) compact(group logdb.Group) {
	for _, c := range w.out.Compactions {
		if r := w.replicas[c.ShardID]; r == nil || r.replicaID != c.ReplicaID || r.fenced {
			continue
		}
		group.Compact(logdb.ReplicaKey{ShardID: c.ShardID, ReplicaID: c.ReplicaID}, c.Index, c.Term)
		w.engine.counts.compactions.Add(1)
	}
}

// compactBehind lets the log go that neither a recovery from the oldest snapshot needs, nor those who are a little behind.
func (r *Replica) compactBehind(newest, oldest uint64) {
	index := newest - min(newest, uint64(r.snapshots.policy.KeepEntries))
	if index = min(index, oldest); index == 0 {
		return
	}
	r.worker.control(func(w *StepWorker) {
		defer w.guard(r)
		if w.enter(r) {
			r.core.Applied(r.machine.Applied())
			r.core.Compact(w.now, index)
		}
	})
}
