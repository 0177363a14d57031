package engine

import (
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// startDamaged makes a replica whose log cannot be read one that has lost everything: it abstains, and asks those that it was told of,
// or whoever addresses it, to be healed. What is stored stays as it is until the shard has committed that it is not needed:
// parts of it may be the last copy of something. Without healing the damage is the start's error.
func (e *Engine) startDamaged(options *ReplicaOptions, damage error) (stored raftpb.Stored, ok bool) {
	if !errors.Is(damage, logdb.ErrDamaged) && !errors.Is(damage, ErrSnapshotDamaged) || options.Raft.DisableHealing {
		return stored, false
	}
	bootstrap := e.newBootstrap(options)
	bootstrap.Join, bootstrap.Complete = true, false
	e.options.Logger.Error("replica is damaged: it takes no part until it is healed", "shard", options.ShardID, "replica", options.ReplicaID, "error", damage)
	e.events.publish(Event{Kind: EventReplicaDamaged, ShardID: options.ShardID, ReplicaID: options.ReplicaID, Err: damage})
	return raftpb.Stored{Bootstrap: bootstrap}, true
}

// Repair asks the others to heal the replica: it is to be rebuilt from them, as a learner first; see raft.Core.Repair. done is called once,
// when that is asked for or with why it cannot be: ErrRepairRefused. EventReplicaHealed tells that the replica begins anew. Safe for
// concurrent use.
func (r *Replica) Repair(done func(error)) {
	done = guarded(done)
	r.worker.control(func(w *StepWorker) { w.repair(r, done) })
}

func (w *StepWorker) repair(r *Replica, done func(error)) {
	switch {
	case r.renewal != nil && !r.renewal.failed:
		done(nil) // it is being healed
		return
	case r.absent():
		done(r.endedErr())
		return
	}
	defer w.guard(r)
	w.enter(r)
	reason := r.core.Repair(w.now)
	r.promiseDirty = true
	w.touch(r)
	done(repairError(r, reason))
}

func repairError(r *Replica, reason raftpb.Reason) error {
	refused := func(why string) error {
		return fmt.Errorf("%w: shard %d: replica %d %s", ErrRepairRefused, r.shardID, r.replicaID, why)
	}
	switch reason {
	case raftpb.ReasonNone:
		return nil
	case raftpb.ReasonStopped:
		return ErrStopped
	case raftpb.ReasonDenied:
		return refused("has healing turned off")
	case raftpb.ReasonLost:
		return refused("is the only voter, nobody else has its data")
	case raftpb.ReasonNotReady:
		return refused("may be needed: it is not known that the others have a leader and a quorum without it")
	}
	return refused("is needed for the membership change under way")
}

// promisedOf returns what is recorded of the replica, or, if its log is damaged, that nothing of it is to be believed.
func (s *start) promisedOf() raft.Promised {
	if s.damaged {
		return raft.Lost()
	}
	return s.engine.options.Promises.Promised(s.key())
}
