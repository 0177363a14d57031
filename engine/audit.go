package engine

import (
	"time"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// The audit of a shard compares the states of its replicas at intervals; rsm/audit.go says how. This is when: an interval after the first command that
// no audit has covered the leader proposes a point. Every replica keeps that time, and lets go of it when the audit is settled and no command has come after its point: so a new leader
// goes on where the former one was lost, and a shard at rest costs nothing. Points and sums are proposals like others, on their way to
// the leader too; what is lost of an audit is made good by the next one, an interval later.

// auditHandedOver keeps the time of the next audit up to date with what goes to the state machine.
func (w *StepWorker) auditHandedOver(r *Replica, batches []raftpb.Batch) {
	for _, batch := range batches {
		switch {
		case rsm.IsAuditPoint(batch):
			r.auditPoint, r.auditBehind = batch.Last(), false
			r.auditAt = w.now + raft.Instant(r.auditEvery)
		case batch.Kind() == raftpb.KindCommands:
			r.auditBehind = true
			if r.auditAt == 0 {
				r.auditAt = w.now + raft.Instant(r.auditEvery)
			}
		}
	}
}

// auditWhenDue lets the leader propose a point.
func (w *StepWorker) auditWhenDue(r *Replica) {
	if r.auditAt == 0 || w.now < r.auditAt {
		return
	}
	r.auditAt = w.now + raft.Instant(r.auditEvery) // unless the point passes before
	if r.core.IsLeader() && !r.quarantined {
		w.proposeAudit(r, rsm.AuditPoint())
	}
}

// proposeAudit proposes an entry of an audit. Nobody waits for it; the pending batch is there to be found when it comes back. It passes what waits in
// the queue, and takes over the deadline of that: those of pending batches stay in order, which expire counts on.
func (w *StepWorker) proposeAudit(r *Replica, body []byte) {
	w.propose(r, &pendingBatch{
		arena: raftpb.AppendEntry(make([]byte, raftpb.HeaderSize), body), count: 1, kind: raftpb.KindAudit,
		completions: []Completion{func(rsm.Result, error) {}}, seen: r.queuedSince,
	})
}

// audited does what an audit's entry came to, on the apply worker.
func (w *applyWorker) audited(r *Replica, batch raftpb.Batch) {
	a := w.batches.Audited()
	if a.Undecided {
		r.engine.options.Logger.Error("replicas differ, and no majority of them agrees", "shard", r.shardID, "replica", r.replicaID, "index", a.Index)
		r.engine.events.publish(Event{Kind: EventAuditUndecided, ShardID: r.shardID, ReplicaID: r.replicaID, Index: a.Index})
	}
	switch {
	case a.Settled:
		r.worker.control(func(*StepWorker) { r.auditSettled(a.Index) })
	case a.Took:
		term := batch.Term()
		r.worker.control(func(worker *StepWorker) { worker.tellSum(r, term, a) })
	}
}

// auditSettled ends the time of an audit, unless there are commands that it did not cover. A timer that has been set for it runs out to no effect.
func (r *Replica) auditSettled(point uint64) {
	if point == r.auditPoint && !r.auditBehind {
		r.auditAt = 0
	}
}

// tellSum proposes what was found at a point. That of an earlier term is history, as in a replay: its audit is over, or is made again.
func (w *StepWorker) tellSum(r *Replica, term uint64, a rsm.Audited) {
	defer w.guard(r)
	if r.quarantined || r.publishedTerm.Load() != term || !w.enter(r) {
		return
	}
	w.proposeAudit(r, rsm.AuditSum(a.Index, r.replicaID, a.Sum))
}

// auditEvery returns the interval of audits of a replica whose state machine can be summed up, otherwise 0.
func auditEvery(options *ReplicaOptions, machine *rsm.Manager) time.Duration {
	if !machine.HasChecksum() {
		return 0
	}
	return options.Audit
}
