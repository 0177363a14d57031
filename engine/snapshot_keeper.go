package engine

import (
	"context"
	"errors"
	"slices"
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
	upTo uint64 // 0: all, durably
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
	k.submit(snapshotRemoval{key: key, done: done})
}

// removeUpTo removes the snapshots of a replica up to an index; one that comes back after a crash does no harm. What is behind may have been
// received since, and the replica be about to recover from it.
func (k *snapshotKeeper) removeUpTo(key logdb.ReplicaKey, index uint64, done func(error)) {
	k.submit(snapshotRemoval{key: key, upTo: index, done: done})
}

func (k *snapshotKeeper) submit(removal snapshotRemoval) {
	k.mu.Lock()
	k.removals = append(k.removals, removal)
	k.mu.Unlock()
	k.sig.set()
}

func (k *snapshotKeeper) follow(removal snapshotRemoval) (err error) {
	directory := k.engine.options.Snapshots
	if removal.upTo == 0 {
		return directory.Remove(removal.key.ShardID, removal.key.ReplicaID)
	}
	for _, name := range directory.List(removal.key.ShardID, removal.key.ReplicaID) {
		if name.Index <= removal.upTo {
			err = errors.Join(err, directory.RemoveOne(name))
		}
	}
	return err
}

// RunOnce does everything that waits.
func (k *snapshotKeeper) RunOnce(raft.Instant) raft.Instant {
	k.sig.clear()
	k.mu.Lock()
	finished, removals := k.finished, k.removals
	k.finished, k.removals = nil, nil
	k.mu.Unlock()
	for _, removal := range removals {
		removal.done(k.follow(removal))
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

// Snapshots are the replica's files, newest first. One that stands above what is applied was received and not installed, not yet or not ever:
// the core may have refused it, and the next start may have to remove it, so it takes the place of none and is handed to nobody. It is safe for
// concurrent use; only a replica with KeepsFiles has any.
func (r *Replica) Snapshots() []snapshot.Name {
	applied := r.machine.Applied()
	return slices.DeleteFunc(r.engine.options.Snapshots.List(r.shardID, r.replicaID), func(name snapshot.Name) bool { return name.Index > applied })
}

// retain removes old snapshots, and lets the log go that is needed by none of the others.
func (r *Replica) retain() {
	directory := r.engine.options.Snapshots
	names := r.Snapshots()
	kept := min(r.snapshots.policy.Retain, len(names))
	for _, name := range names[kept:] {
		if err := directory.RemoveOne(name); err != nil {
			kept = len(names) // the log that it needs stays
			r.engine.options.Logger.Warn("an old snapshot is not removed", "shard", r.shardID, "replica", r.replicaID, "error", err)
			break
		}
	}
	if kept > 0 {
		r.compactBehind(names[0].Index, names[kept-1].Index)
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
