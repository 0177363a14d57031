package engine

import (
	"context"
	"fmt"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// renewal is the time in which a healed replica is started anew: its core said that the shard knows it by another incarnation, so
// that nothing of the former one counts any more (R15). What is done, and in this order, for a crash may come anywhere:
//
//  1. the writes of the former core are waited for, by a barrier behind them, and what was handed to the state machine before;
//  2. the state machine is closed and another one is made: if that fails nothing is lost yet; the snapshots are removed, for good: a
//     crash behind that leaves the former log, and a replica that abstains;
//  3. one write removes what is stored and puts the new incarnation in its place: whoever starts after a crash finds the one or
//     the other. Of the former it finds the record of promises too, and abstains; of the new one as well, and asks to be healed
//     once more, which costs nothing but time;
//  4. the record of promises is removed. Before the write it would let the former state vote again;
//  5. the step worker gets a new core, in a new session.
//
// The Replica stays. The disk may take its time, so requests are refused meanwhile.
type renewal struct {
	incarnation uint64
	stop        func(error) // of a StopReplica that came meanwhile, nil for none
	failed      bool        // it went no further: only a stop is left
}

// absent says that no core is to be touched.
func (r *Replica) absent() bool { return r.stopped || r.fenced || r.renewal != nil }

// renew notes that a replica is healed. It begins when no core is being worked on.
func (w *StepWorker) renew(r *Replica, incarnation uint64) {
	r.renewal = &renewal{incarnation: incarnation}
	w.renewals = append(w.renewals, r)
}

func (w *StepWorker) beginRenewals() {
	for i, r := range w.renewals {
		w.beginRenewal(r)
		w.renewals[i] = nil
	}
	w.renewals = w.renewals[:0]
}

func (w *StepWorker) beginRenewal(r *Replica) {
	if r.stopped || r.fenced {
		r.renewal = nil // or a stop would wait for its end
		return
	}
	w.engine.options.Logger.Warn("replica is healed: it begins anew", "shard", r.shardID, "replica", r.replicaID)
	w.leadershipEnds(r)
	r.publishedLeader.Store(0)
	r.leading.Store(false)
	w.wheel.disarm(r)
	w.dropRoutes(r)
	r.routesOf = nil
	if d := r.departure; d != nil && !d.over { // its deadline is not looked at any more
		d.over = true
		w.stopRenewed(r, d.done)
	}
	r.pending.failAll(errLeaderChangedUnknown)
	w.failReads(r, ErrNoLeader)
	r.refuseQueued()
	for len(r.transfers) > 0 {
		w.endTransfer(r, r.transfers[0].id, ErrNoLeader)
	}
	r.endSnapshots(ErrInstalling)
	r.endStreams(ErrInstalling)
	incarnation := r.renewal.incarnation
	swap := applyItem{last: func() { w.engine.swapMachine(r, incarnation) }}
	w.barriers = append(w.barriers, writeItem{group: w.engine.emptyGroup(), done: func(error) {
		if r.applyQueue.push(swap) {
			w.engine.apply.submit([]*Replica{r})
		}
	}})
}

// stopRenewed lets a stop wait for the end of the renewal, which may wait for a state machine or a disk that does not return.
func (w *StepWorker) stopRenewed(r *Replica, done func(error)) {
	end := w.watchStop(r, done)
	end.renewing = true
	r.renewal.stop = end.end
}

// refuseQueued answers what callers queued while there is no core.
func (r *Replica) refuseQueued() {
	batches, reads := r.queue.takeAll(nil)
	for _, p := range batches {
		p.fail(ErrNoLeader)
	}
	for _, batch := range reads {
		batch.fail(ErrNoLeader)
	}
}

// swapMachine is step 2, and hands over to the following ones. It runs on an apply worker.
func (e *Engine) swapMachine(r *Replica, incarnation uint64) {
	err := r.machine.Renew(context.Background(), func() (rsm.StateMachine, error) { return makeMachine(r.factory, r.shardID, r.replicaID) })
	if err != nil {
		e.renewalFailed(r, err)
		return
	}
	key := logdb.ReplicaKey{ShardID: r.shardID, ReplicaID: r.replicaID}
	bootstrap := raftpb.Bootstrap{Incarnation: incarnation, Join: true}
	group, err := e.groupOf(func(group logdb.Group) error {
		group.Remove(key)
		return group.Save(&raftpb.Save{ShardID: key.ShardID, ReplicaID: key.ReplicaID, Bootstrap: &bootstrap, MustSync: true})
	})
	if err != nil {
		e.renewalFailed(r, err)
		return
	}
	e.keeper.remove(key, func(err error) {
		if err != nil {
			e.renewalFailed(r, err)
			return
		}
		e.writeRenewal(r, key, bootstrap, group)
	})
}

// writeRenewal is steps 3 and 4.
func (e *Engine) writeRenewal(r *Replica, key logdb.ReplicaKey, bootstrap raftpb.Bootstrap, group logdb.Group) {
	e.writer.submit(writeItem{group: group, done: func(err error) {
		if err != nil {
			e.renewalFailed(r, fmt.Errorf("%w: %w", ErrStorageFailed, err))
			return
		}
		e.promises.forget(key, func(err error) {
			if err != nil {
				e.renewalFailed(r, fmt.Errorf("%w: %w", ErrStorageFailed, err))
				return
			}
			r.worker.control(func(w *StepWorker) { w.finishRenewal(r, bootstrap) })
		})
	}})
}

// finishRenewal is step 5.
func (w *StepWorker) finishRenewal(r *Replica, bootstrap raftpb.Bootstrap) {
	stop := r.renewal.stop
	r.session = w.engine.nonZeroRandom()
	core, err := newCore(w.now, r.coreOptions(), raftpb.Stored{Bootstrap: bootstrap}, raft.Promised{}, w.engine.options.Cache)
	if err != nil {
		w.failRenewal(r, err)
		return
	}
	if r.retimed { // not by its options, which bound what it may promise a leader
		_ = core.SetTimeouts(w.now, r.election, r.heartbeat)
	}
	r.core, r.promised, r.renewal = core, raft.Promised{}, nil
	r.handedOver, r.toldApplied, r.lastCommit = 0, 0, 0
	r.witnessCompacted = 0
	r.snapshots.renew()
	r.views.reopen()
	r.install = nil
	r.storage, r.removed = raft.StorageOK, nil
	if r.quarantined || r.overloaded {
		r.quarantined, r.overloaded = false, false
		r.refuse(nil)
		r.queue.reopen()
	}
	r.refuseAll()
	r.progressAt, r.hasRequests = w.now, true
	w.touch(r)
	w.engine.events.publish(Event{Kind: EventReplicaHealed, ShardID: r.shardID, ReplicaID: r.replicaID})
	if stop != nil {
		w.stop(r, stop)
	}
}

func (e *Engine) renewalFailed(r *Replica, err error) {
	r.worker.control(func(w *StepWorker) { w.failRenewal(r, err) })
}

// failRenewal leaves the replica out of service until it is started again, which finds the former state or the new one.
func (w *StepWorker) failRenewal(r *Replica, err error) {
	w.engine.options.Logger.Error("replica cannot begin anew", "shard", r.shardID, "replica", r.replicaID, "error", err)
	r.renewal.failed = true
	r.refuse(err)
	w.failRequests(r, err, errLeaderChangedUnknown)
	w.engine.events.publish(Event{Kind: EventReplicaHealFailed, ShardID: r.shardID, ReplicaID: r.replicaID, Err: err})
	if stop := r.renewal.stop; stop != nil {
		w.stop(r, stop)
	}
}
