package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// StartReplica starts a replica and calls done once, with the handle or why it could not be started. What is stored of it
// is read on the calling goroutine. A replica without state first gets its bootstrap record, random incarnation
// included, written durably; many starts share one group commit. Safe for concurrent use.
func (e *Engine) StartReplica(options ReplicaOptions, factory rsm.Factory, done func(*Replica, error)) {
	done = guardedValue(done)
	if err := options.validate(); err != nil {
		done(nil, err)
		return
	}
	if err := e.reserve(options.ShardID); err != nil {
		done(nil, err)
		return
	}
	if options.witness() {
		options.Raft.Witness, factory = true, makeNothing
	}
	s := &start{engine: e, options: options, factory: factory, done: done}
	var fresh bool
	if s.stored, fresh, s.err = e.load(&options); s.err != nil {
		if stored, ok := e.startDamaged(&options, s.err); ok {
			s.stored, s.damaged, s.err = stored, true, nil
		}
	}
	// After a failed write the store may show what is not durable, and nothing may be built on that (R9). A failure from here on cannot
	// concern what this replica has written: its last stop waited for that.
	if failure := e.StorageFailure(); failure != nil && s.err == nil {
		s.err = fmt.Errorf("%w: replica %d of shard %d is not started: %w", ErrStorageFailed, options.ReplicaID, options.ShardID, failure)
	}
	if s.err == nil {
		s.machine, s.err = makeMachine(factory, options.ShardID, options.ReplicaID)
	}
	if s.err != nil {
		s.fail(s.err)
		return
	}
	s.openMachine(fresh)
}

// start is a replica on its way up. Everything that may be refused comes before the first write, so that a failed start
// leaves nothing behind.
type start struct {
	engine  *Engine
	options ReplicaOptions
	factory rsm.Factory
	done    func(*Replica, error)
	stored  raftpb.Stored
	damaged bool // what is stored cannot be read, and stored is made up
	machine rsm.StateMachine
	manager *rsm.Manager // of machine
	applied uint64       // the entry up to which machine came up
	err     error
}

func (s *start) key() logdb.ReplicaKey {
	return logdb.ReplicaKey{ShardID: s.options.ShardID, ReplicaID: s.options.ReplicaID}
}

// fail ends the start and takes back what it holds.
func (s *start) fail(err error) {
	switch {
	case s.manager != nil:
		_ = s.manager.Close()
	case s.machine != nil:
		_ = rsm.NewManager(s.machine, 0).Close()
	}
	s.engine.release(s.options.ShardID)
	s.done(nil, err)
}

// load reads what is stored of a replica. If nothing is, it is fresh and has only a bootstrap record, not yet written. That record is written before
// anything else and never goes: what is there without it has lost it, whatever else. The store cannot tell, since each record may be the first that it
// gets of a replica.
func (e *Engine) load(options *ReplicaOptions) (stored raftpb.Stored, fresh bool, err error) {
	stored, err = e.stored(logdb.ReplicaKey{ShardID: options.ShardID, ReplicaID: options.ReplicaID})
	switch {
	case err == nil && stored.Bootstrap.Incarnation == 0:
		return stored, false, fmt.Errorf("%w: replica %d of shard %d has a log from index %d to %d, of term %d, and no bootstrap record: in whose name it voted is not known",
			logdb.ErrDamaged, options.ReplicaID, options.ShardID, stored.Compacted+1, stored.Last, stored.State.Term)
	case err == nil:
		return stored, false, nil
	case !errors.Is(err, logdb.ErrNotFound):
		return stored, false, fmt.Errorf("load replica %d of shard %d: %w", options.ReplicaID, options.ShardID, err)
	case !options.Join && len(options.Members) == 0:
		return stored, false, fmt.Errorf("%w: Members is empty and Join is false, but the host has no state of the replica", ErrInvalidOptions)
	}
	return raftpb.Stored{Bootstrap: e.newBootstrap(options)}, true, nil
}

func (s *start) writeBootstrap() {
	e, key := s.engine, s.key()
	save := raftpb.Save{ShardID: key.ShardID, ReplicaID: key.ReplicaID, Bootstrap: &s.stored.Bootstrap, MustSync: true}
	group, err := e.groupOf(func(group logdb.Group) error { return group.Save(&save) })
	if err != nil {
		s.fail(err)
		return
	}
	e.writer.submit(writeItem{group: group, done: func(err error) {
		if err != nil {
			s.fail(fmt.Errorf("%w: %w", ErrStorageFailed, err))
			return
		}
		s.install()
	}})
}

func (e *Engine) newBootstrap(options *ReplicaOptions) raftpb.Bootstrap {
	// A learner has no part in what the first members tell each other before they vote (R16), and may well come when they are
	// through with it: it waits to be called on, as one that joins.
	learns := options.Kinds[options.ReplicaID] == raftpb.Learner
	bootstrap := raftpb.Bootstrap{Incarnation: e.nonZeroRandom(), Join: options.Join || learns}
	if bootstrap.Join {
		return bootstrap
	}
	for _, id := range slices.Sorted(maps.Keys(options.Members)) {
		member := raftpb.Member{ReplicaID: id, Kind: raftpb.Voter, Address: options.Members[id], Priority: options.Priorities[id]}
		if kind := options.Kinds[id]; kind != 0 {
			member.Kind = kind
		}
		if id == options.ReplicaID {
			member.Incarnation = bootstrap.Incarnation
		}
		bootstrap.Initial.Members = append(bootstrap.Initial.Members, member)
	}
	bootstrap.Complete = options.SkipBootstrapCheck || len(bootstrap.Initial.Members) == 1
	return bootstrap
}

// install makes the core and gives the replica to its step worker.
func (s *start) install() {
	e := s.engine
	if s.options.Raft.LeaseRead {
		e.countSuspension()
	}
	r := &Replica{
		engine:     e,
		worker:     e.workerOf(s.options.ShardID),
		shardID:    s.options.ShardID,
		replicaID:  s.options.ReplicaID,
		session:    e.nonZeroRandom(),
		machine:    s.manager,
		auditEvery: auditEvery(&s.options, s.manager),
	}
	r.handedOver = min(max(s.applied, s.stored.Compacted), s.stored.Last)
	r.toldApplied = r.handedOver
	s.beginSnapshots(r)
	r.pending.base = 1
	r.factory, r.settings, r.witness = s.factory, s.options.Raft, s.options.Raft.Witness
	r.refuseAll()
	r.settings.ShardID, r.settings.ReplicaID, r.settings.Address = s.options.ShardID, s.options.ReplicaID, e.options.Address
	options := r.coreOptions()
	options.Applied = s.applied
	promised := s.promisedOf()
	r.worker.control(func(w *StepWorker) {
		core, err := newCore(w.now, options, s.stored, promised, e.options.Cache)
		if err != nil {
			s.fail(err)
			return
		}
		r.core, r.promised = core, promised
		// What its log holds may be more than a life that ended in a crash came to record, and a quiet replica writes nothing that would
		// record it later. Where the record says as much nothing is written.
		r.promiseDirty = true
		w.add(r)
		s.done(r, nil)
		w.settle(r)
	})
}

// configAt returns the newest stored membership at or below index.
func configAt(stored *raftpb.Stored, index uint64) (newest raftpb.ConfigRecord) {
	for _, config := range stored.Configs {
		if config.Index <= index {
			newest = config
		}
	}
	return newest
}

// coreOptions are those of the replica's next core.
func (r *Replica) coreOptions() raft.Options {
	options := r.settings
	options.Session, options.Seed, options.NextIncarnation = r.session, r.engine.nonZeroRandom(), r.engine.nonZeroRandom()
	return options
}

// newCore makes the core. An assertion that fails in there fails the start.
func newCore(now raft.Instant, options raft.Options, stored raftpb.Stored, promised raft.Promised, cache raft.Cache) (core *raft.Core, err error) {
	defer func() {
		if value := recover(); value != nil {
			core, err = nil, fmt.Errorf("%w: while it was started: %v", ErrFenced, value)
		}
	}()
	return raft.New(now, options, stored, promised, cache)
}

func makeMachine(factory rsm.Factory, shardID, replicaID uint64) (machine rsm.StateMachine, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("state machine of shard %d panicked while it was made: %v", shardID, value)
		}
	}()
	if machine, err = factory(shardID, replicaID); err != nil {
		return nil, fmt.Errorf("make state machine of shard %d: %w", shardID, err)
	}
	if machine == nil {
		return nil, fmt.Errorf("%w: the factory of shard %d returned no state machine", ErrInvalidOptions, shardID)
	}
	return machine, nil
}

// add takes a replica into the worker.
func (w *StepWorker) add(r *Replica) {
	r.storage = raft.StorageOK
	r.progressAt = w.now
	w.replicas[r.shardID] = r
	r.place = len(w.all)
	w.all = append(w.all, r)
	w.touch(r)
	w.engine.events.publish(Event{Kind: EventReplicaReady, ShardID: r.shardID, ReplicaID: r.replicaID})
}

// settle does what is left of a start: a state machine that failed to recover is quarantined, and log goes that a crash has kept.
func (w *StepWorker) settle(r *Replica) {
	if failure := r.machine.Failure(); failure != nil {
		w.quarantine(r, failure)
		return
	}
	r.catchUpCompaction()
}

// StopReplica stops a replica: a leader first hands its leadership over, for at most one election timeout; then what is pending is
// answered, its writes under way are waited for, its state machine is closed. done is called once after all of that, with
// ErrNotStarted if another call was first. Safe for concurrent use.
func (e *Engine) StopReplica(r *Replica, done func(error)) {
	done = guarded(done)
	r.worker.control(func(w *StepWorker) { w.depart(r, done) })
}

// stop ends a replica that has nothing to hand over, or had its time for that.
func (w *StepWorker) stop(r *Replica, done func(error)) {
	// Before the core stops: afterwards it does not know any more whether it led or abstained.
	if w.promise(r) {
		w.engine.promises.submit([]PromiseRecord{r.promiseRecord()})
	}
	if !r.absent() {
		func() {
			defer w.guard(r)
			r.core.Stop(w.now)
			w.advance(r)
		}()
	}
	w.leadershipEnds(r)
	r.stopped = true
	r.publishedLeader.Store(0)
	r.leading.Store(false)
	r.refuse(ErrStopped)
	w.failRequests(r, ErrStopped, errStoppedUnknown)
	w.dropRoutes(r)
	r.routesOf = nil
	w.wheel.disarm(r)
	delete(w.replicas, r.shardID)
	w.forget(r)
	r.endSnapshots(ErrStopped)
	r.endStreams(ErrStopped)
	end := w.watchStop(r, done)
	closing := applyItem{last: func() {
		err := r.machine.Close()
		w.engine.release(r.shardID)
		w.engine.events.publish(Event{Kind: EventReplicaStopped, ShardID: r.shardID, ReplicaID: r.replicaID})
		end.end(err)
	}}
	// An empty group is a barrier: its completion comes after that of every write of the replica, so that whoever
	// starts it again loads all of them.
	w.barriers = append(w.barriers, writeItem{group: w.engine.emptyGroup(), done: func(error) {
		end.written.Store(true)
		if r.applyQueue.push(closing) {
			w.engine.apply.submit([]*Replica{r})
		}
	}})
}

// forget takes a stopped replica off the list of all; the last one takes its place.
func (w *StepWorker) forget(r *Replica) {
	last := len(w.all) - 1
	w.all[r.place] = w.all[last]
	w.all[r.place].place = r.place
	w.all[last] = nil
	w.all = w.all[:last]
}

// RemoveReplicaData removes everything that is stored of a replica that does not run here, and calls done once that is durable, and
// what it had promised is forgotten.
func (e *Engine) RemoveReplicaData(shardID, replicaID uint64, done func(error)) {
	done = guarded(done)
	if err := e.reserve(shardID); err != nil {
		done(err)
		return
	}
	key := logdb.ReplicaKey{ShardID: shardID, ReplicaID: replicaID}
	group, err := e.groupOf(func(group logdb.Group) error { group.Remove(key); return nil })
	if err != nil {
		e.release(shardID)
		done(err)
		return
	}
	end := func(err error) {
		e.release(shardID)
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrStorageFailed, err)
		}
		done(err)
	}
	// The snapshots go first, for good: a replica that is started anew must not find those of its former self. What a crash leaves
	// behind them is a log whose beginning is gone, and a replica that is healed.
	write := func() {
		e.writer.submit(writeItem{group: group, done: func(err error) {
			if err != nil {
				end(err)
				return
			}
			// Whoever starts the replica anew must not find what its former self has promised.
			e.promises.forget(key, end)
		}})
	}
	e.keeper.remove(key, func(err error) {
		if err != nil {
			e.release(shardID)
			done(fmt.Errorf("remove replica %d of shard %d: %w", replicaID, shardID, err))
			return
		}
		write()
	})
}

// failRequests answers everything that callers wait for in a replica: untaken requests with certain, taken ones with unknown.
func (w *StepWorker) failRequests(r *Replica, certain, unknown error) {
	batches, reads := r.queue.takeAll(certain)
	for _, p := range batches {
		p.fail(certain)
	}
	for _, batch := range reads {
		batch.fail(certain)
	}
	r.pending.failAll(unknown)
	w.failReads(r, certain)
	for len(r.changes) > 0 {
		w.endChange(r, r.changes[0].id, nil, fmt.Errorf("%w: shard %d", unknown, r.shardID))
	}
	for len(r.transfers) > 0 {
		// Whether the target was told to take over is known by the core alone, and it has failed or said all it had to say.
		w.endTransfer(r, r.transfers[0].id, fmt.Errorf("%w: shard %d: %w", ErrTransferFailed, r.shardID, unknown))
	}
}

// failReads answers the reads that were taken and not served yet.
func (w *StepWorker) failReads(r *Replica, err error) {
	for _, list := range [...][]*readBatch{r.waitingReads, r.readyReads, r.servedReads} {
		for _, batch := range list {
			batch.fail(err)
		}
	}
	r.waitingReads, r.readyReads, r.servedReads = nil, nil, nil
}

// quarantine follows the failure of a replica's state machine (R24): it gives up leadership, serves nothing, and goes on voting
// and acknowledging, since those promises do not depend on the state.
func (w *StepWorker) quarantine(r *Replica, failure *rsm.Failure) {
	if r.quarantined || r.stopped || r.fenced {
		return
	}
	r.quarantined = true
	w.engine.options.Logger.Error("state machine failed; replica is quarantined", "shard", r.shardID, "replica", r.replicaID,
		"error", failure.Cause, "stack", string(failure.Stack))
	r.refuse(ErrQuarantined)
	w.failRequests(r, ErrQuarantined, errQuarantinedUnknown)
	w.engine.events.publish(Event{Kind: EventReplicaQuarantined, ShardID: r.shardID, ReplicaID: r.replicaID, Err: failure})
	defer w.guard(r)
	if w.enter(r) {
		r.core.Quarantine(w.now)
		r.toldApplied = r.handedOver
		r.core.Applied(r.handedOver)
	}
}

// fence silences a replica in which an assertion failed (R24): it sends nothing until a restart has read durable state again.
func (w *StepWorker) fence(r *Replica, value any, stack []byte) {
	if r.fenced {
		return
	}
	r.fenced = true
	w.counters.fenced++
	err := fmt.Errorf("%w: %v", ErrFenced, value)
	w.engine.options.Logger.Error("assertion failed; replica is fenced", "shard", r.shardID, "replica", r.replicaID,
		"error", err, "stack", string(stack))
	r.publishedLeader.Store(0)
	r.leading.Store(false)
	r.refuse(ErrFenced)
	w.wheel.disarm(r)
	w.failRequests(r, ErrFenced, errFencedUnknown)
	w.departed(r)
	w.engine.events.publish(Event{Kind: EventReplicaFenced, ShardID: r.shardID, ReplicaID: r.replicaID, Err: err})
}

// coreEvent passes on what a core reports, and follows leadership for the callers.
func (w *StepWorker) coreEvent(r *Replica, event *raft.Event) {
	out := Event{ShardID: r.shardID, ReplicaID: r.replicaID, Term: event.Term, Leader: event.Leader, Peer: event.Replica, Reason: event.Reason}
	switch event.Kind {
	case raft.EventLeaderChanged:
		w.leaderChanged(r, event)
		out.Kind = EventLeaderChanged
	case raft.EventTransferDone:
		w.endTransfer(r, event.ID, nil)
		return
	case raft.EventMembersChanged:
		w.endChange(r, event.ID, event.Membership, nil)
		return
	case raft.EventReplicationRejected:
		out.Kind = EventReplicationRejected
	case raft.EventMembershipChanged:
		out.Kind = EventMembershipChanged
	case raft.EventSecondLeader:
		out.Kind = EventSecondLeader
		w.engine.options.Logger.Error("a second leader in one term", "shard", r.shardID, "term", event.Term, "replica", event.Replica)
	case raft.EventAbstaining:
		out.Kind, out.ReplicaID = EventReplicaAbstaining, event.Replica // a leader reports it of its followers
		w.engine.options.Logger.Error("replica abstains: it holds less than it promised", "shard", r.shardID, "replica", event.Replica)
		if event.Replica == r.replicaID {
			r.promiseDirty = true       // what a leader has shown to be lost
			w.failReads(r, ErrNoLeader) // nothing more is applied here
		}
	case raft.EventHealed:
		w.renew(r, event.ID)
		return
	case raft.EventWitnessStandsIn:
		out.Kind = EventWitnessStandsIn
		w.engine.options.Logger.Warn("a witness stands in for a data voter that is not heard", "shard", r.shardID, "index", event.ID)
	case raft.EventDataLost:
		out.Kind = EventDataLost
		w.engine.options.Logger.Error("the data of a quorum is lost: the shard decides nothing", "shard", r.shardID)
	case raft.EventClockDrift:
		out.Kind = EventClockDrift
		w.engine.options.Logger.Warn("a voter's clock gains too much to count for leases", "shard", r.shardID, "replica", event.Replica)
	case raft.EventBootstrapped:
		out.Kind = EventReplicaBootstrapped
	case raft.EventRemoved:
		r.removedBy(event.ID)
		w.failReads(r, r.removed) // what they wait for is never applied here
		out.Kind = EventReplicaRemoved
	case raft.EventFollowerCreated, raft.EventFollowerOnline, raft.EventFollowerOffline, raft.EventFollowerDestroyed, raft.EventFollowerStuck:
		w.followerEvent(r, event, &out)
	default:
		return
	}
	w.engine.events.publish(out)
}

func (w *StepWorker) leaderChanged(r *Replica, event *raft.Event) {
	if event.Leader != 0 {
		r.removed = nil // it was added again
	}
	if event.Leader != 0 && event.Leader != r.publishedLeader.Load() {
		w.engine.leaderChanges.Add(1)
	}
	if event.Leader != r.replicaID || event.Term != r.startedTerm {
		w.leadershipEnds(r)
	}
	r.publishedLeader.Store(event.Leader)
	r.publishedTerm.Store(event.Term)
	r.leading.Store(event.Leader == r.replicaID)
	r.hasRequests = true
	w.touch(r)
}

// stepLink tells the replicas with a member on a host that it cannot be reached.
func (w *StepWorker) stepLink(event *linkEvent) {
	box := w.outboxes[event.address]
	if box == nil || box.online == event.up {
		return
	}
	box.online, box.failure = event.up, event.err
	if event.up {
		return // who is reached again shows it by an answer
	}
	for _, at := range box.replicas {
		w.unreachable(at.replica, at.replica.routes[at.route].replicaID)
	}
}
