package engine

import (
	"cmp"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// mark remembers how far an Output was filled, so that what a replica put in can be found, or thrown away.
type mark struct {
	messages, saves, apply, logReads, reads, refusals, events, installs, compactions int
}

func markOf(o *raft.Output) mark {
	return mark{len(o.Messages), len(o.Saves), len(o.Apply), len(o.LogReads), len(o.Reads), len(o.Refusals), len(o.Events),
		len(o.Installs), len(o.Compactions)}
}

func (m mark) rollback(o *raft.Output) {
	o.Messages, o.Saves, o.Apply = o.Messages[:m.messages], o.Saves[:m.saves], o.Apply[:m.apply]
	o.LogReads, o.Reads = o.LogReads[:m.logReads], o.Reads[:m.reads]
	o.Refusals, o.Events = o.Refusals[:m.refusals], o.Events[:m.events]
	o.Installs, o.Compactions = o.Installs[:m.installs], o.Compactions[:m.compactions]
}

// advance gives a touched replica its requests, drains its core and passes on what came out. If anything panics, what
// the core had put out in this call is thrown away and the replica is fenced.
func (w *StepWorker) advance(r *Replica) {
	defer w.guard(r)
	before := markOf(&w.out)
	drained := false
	defer func() {
		if !drained {
			before.rollback(&w.out)
		}
	}()
	if applied := r.machine.Applied(); applied != r.toldApplied && (r.install == nil || r.install.done) {
		r.toldApplied = applied
		r.core.Applied(applied)
	}
	w.tellStorage(r) // a request alone has not entered
	if r.core.ClockDue() {
		r.core.Observe(w.now) // read after the Drain that made it due
	}
	w.takeRequests(r)
	if r.witness {
		w.compactWitness(r)
	}
	if r.core.Dirty() {
		r.core.Drain(&w.out)
	}
	for range w.out.Saves[before.saves:] {
		w.owners = append(w.owners, r) // at once: save relies on one owner for each
	}
	drained = true
	w.distribute(r, before)
	if r.promiseDirty {
		w.notePromise(r)
	}
	w.followDeparture(r)
	// A forward is over only now, when Drain handed its batch over or its refusal was passed on: what waited behind it, and
	// raised no signal of its own, is taken in the next turn.
	waitedFor := r.waiting && r.core.UncommittedBatches() < r.batchesInFlightAllowed()
	r.hasRequests = r.hasRequests || waitedFor
	if waitedFor || r.core.Dirty() || r.core.ClockDue() {
		w.touch(r)
	}
	r.publishFreshness()
	r.pending.trim()
	if r.overloaded {
		w.settleOverload(r) // no request comes to bring it about, for all are refused
	}
	w.wheel.arm(r, w.deadlineOf(r))
}

// takeRequests moves what callers queued into the core, as far as the rule of the open batch allows.
func (w *StepWorker) takeRequests(r *Replica) {
	commit := r.core.Commit()
	progressed := commit != r.lastCommit
	if progressed {
		r.lastCommit = commit
		r.progressAt = w.now
	}
	if !r.hasRequests && !(r.waiting && progressed) {
		return
	}
	r.hasRequests = false
	allowed := r.batchesInFlightAllowed()
	for {
		mayTake := r.core.UncommittedBatches() < allowed
		p, waiting := r.queue.take(&w.engine.limits, uint32(r.core.UncommittedEntries()), mayTake)
		r.waiting = waiting
		if p == nil {
			break
		}
		r.progressAt = w.now
		w.propose(r, p)
	}
	// Reads come last: the take above has lowered the flag of the queue, so a read that is not seen here raises the signal anew.
	if batch := r.queue.takeReads(); batch != nil {
		w.startRead(r, batch)
	}
	w.ageQueue(r)
	w.settleOverload(r)
}

func (w *StepWorker) propose(r *Replica, p *pendingBatch) {
	p.taken = w.now
	if p.seen != 0 {
		p.taken = p.seen
	}
	p.sequence = r.pending.next()
	p.prepare()
	r.pending.push(p, len(p.arena)) // before the core has it: whatever fails there, somebody knows who waits
	origin := raftpb.Origin{Replica: r.replicaID, Session: r.session, Sequence: p.sequence, Count: p.count}
	seal := raftpb.SealArena
	if p.fields {
		seal = raftpb.SealSessionArena
	}
	batch := seal(p.arena, p.count, r.shardID, cmp.Or(p.kind, raftpb.KindCommands), origin, p.expectedTerm)
	p.arena = nil
	if reason := r.core.Propose(w.now, batch); reason != raftpb.ReasonNone {
		r.pending.pop()
		w.dropped(r, reason)
		p.fail(w.proposalError(r, p, reason))
		return
	}
	if r.core.IsLeader() {
		p.last = r.core.LastIndex()
	}
}

func (w *StepWorker) dropped(r *Replica, reason raftpb.Reason) {
	w.engine.events.publish(Event{Kind: EventProposalDropped, ShardID: r.shardID, ReplicaID: r.replicaID, Reason: reason})
}

// settleOverload refuses further proposals of a shard whose waiting ones make no progress, or whose state machine is too far
// behind, and accepts them again when that is over.
func (w *StepWorker) settleOverload(r *Replica) {
	stuck := r.waiting && w.now-r.progressAt >= raft.Instant(w.engine.options.MaxQueueDelay) && r.queue.holds()
	overloaded := stuck || r.pending.bytes > maxPendingBytes || r.core.Overloaded()
	if overloaded == r.overloaded || r.quarantined || r.departure != nil {
		return
	}
	r.overloaded = overloaded
	if overloaded {
		r.refuse(ErrBusy)
	} else {
		r.refuse(nil)
	}
}

// maxPendingBytes bounds the batches of one shard that were taken and not answered; a state machine that is slower
// than its log reaches it.
const maxPendingBytes = 64 << 20

func (w *StepWorker) startRead(r *Replica, batch *readBatch) {
	batch.taken = w.now
	if r.quarantined {
		batch.fail(ErrQuarantined)
		return
	}
	r.waitingReads = append(r.waitingReads, batch)
	w.confirmRead(r, batch)
}

// distribute passes on what the core has put out since before. Messages come last, so that a replica that is fenced on the way
// says nothing; its saves are left out by save.
func (w *StepWorker) distribute(r *Replica, before mark) {
	out := &w.out
	for i := before.events; i < len(out.Events); i++ {
		w.coreEvent(r, &out.Events[i])
	}
	for i := before.saves; i < len(out.Saves); i++ {
		if from := out.Saves[i].TruncateFrom; from != 0 {
			w.truncated(r, from)
		}
		r.noteInstall(&out.Saves[i])
	}
	for i := before.refusals; i < len(out.Refusals); i++ {
		w.refusal(r, &out.Refusals[i])
	}
	if len(out.Apply) > before.apply {
		w.handOver(r, out.Apply[before.apply:])
	}
	for i := before.reads; i < len(out.Reads); i++ {
		w.confirmed(r, out.Reads[i])
	}
	if len(r.readyReads) > 0 {
		w.handOverReads(r)
	}
	w.watchApply(r)
	for i := before.installs; i < len(out.Installs); i++ {
		w.beginReceive(r, out.Installs[i])
	}
	if len(out.Messages) > before.messages {
		w.refreshRoutes(r)
		for i := before.messages; i < len(out.Messages); i++ {
			w.post(r, &out.Messages[i])
		}
	}
}

// handOver gives committed and durable batches to the apply pool, each with whoever waits for it. All five fields of the
// origin have to match (R1): replica, session and count are compared here and in find, sequence finds, and the piece's
// offset says which of the waiters are meant.
func (w *StepWorker) handOver(r *Replica, batches []raftpb.Batch) {
	r.handedOver = batches[len(batches)-1].Last()
	if r.quarantined {
		r.toldApplied = r.handedOver
		r.core.Applied(r.handedOver) // nothing is applied any more; the core need not keep it
		return
	}
	for _, batch := range batches {
		item := applyItem{batch: batch}
		if origin := batch.Origin(); origin.Replica == r.replicaID && origin.Session == r.session && proposed(batch.Kind()) {
			item.pending = r.pending.find(origin)
		}
		w.items = append(w.items, item)
		if w.leadershipBegins(r, batch.Term()) {
			w.items = append(w.items, w.leaderStarted(r))
		}
	}
	if r.auditEvery != 0 {
		w.auditHandedOver(r, batches)
	}
	if r.applyQueue.push(w.items...) {
		w.applied = append(w.applied, r)
	}
	clear(w.items)
	w.items = w.items[:0]
}

// proposed reports whether batches of a kind come from a proposal that somebody waits for.
func proposed(kind raftpb.Kind) bool { return kind == raftpb.KindCommands || kind == raftpb.KindAudit }

// watchApply asks the apply worker for a signal if the core holds committed entries back until more is applied. The flag is
// raised first and the applied index looked at after; the apply worker publishes the index first and looks at the flag after:
// one of the two sees the other.
func (w *StepWorker) watchApply(r *Replica) {
	if min(r.core.Commit(), r.core.Durable()) <= r.handedOver {
		return
	}
	r.applyWanted.Store(true)
	if r.machine.Applied() != r.toldApplied {
		w.touch(r)
	}
}

func (w *StepWorker) confirmed(r *Replica, state raft.ReadState) {
	for i, batch := range r.waitingReads {
		if batch.id == state.ID {
			batch.index = state.Index
			if state.Lease {
				w.counters.leaseReads++
			} else {
				w.counters.roundReads++
			}
			r.waitingReads = append(r.waitingReads[:i], r.waitingReads[i+1:]...)
			if len(r.readyReads) >= maxConfirmedReads {
				batch.fail(ErrBusy)
				return
			}
			r.standsBehind(r.readyReads, batch)
			r.readyReads = append(r.readyReads, batch)
			return
		}
	}
}

// handOverReads queues confirmed reads behind the batches that they have to see.
func (w *StepWorker) handOverReads(r *Replica) {
	for len(r.servedReads) > 0 && r.servedReads[0].ended.Load() {
		r.servedReads[0] = nil
		r.servedReads = r.servedReads[1:]
	}
	kept := r.readyReads[:0]
	for _, batch := range r.readyReads {
		if batch.index > r.handedOver {
			kept = append(kept, batch)
			continue
		}
		schedule, ok := r.applyQueue.pushReads(batch)
		if !ok {
			batch.fail(ErrBusy)
			continue
		}
		if schedule {
			w.applied = append(w.applied, r)
		}
		r.standsBehind(r.servedReads, batch)
		r.servedReads = append(r.servedReads, batch)
	}
	clear(r.readyReads[len(kept):])
	r.readyReads = kept
}

// truncated ends the proposals whose entries were cut from this log. Another replica may still hold them and lead later, so their
// outcome is unknown.
func (w *StepWorker) truncated(r *Replica, from uint64) {
	for _, p := range r.pending.items {
		if p != nil && p.last >= from {
			p.fail(errLeaderChangedUnknown)
		}
	}
}
