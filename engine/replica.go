package engine

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// Replica ties one shard's parts on this host together: the queue where callers meet it, the protocol core, the requests under
// way and the state machine.
//
// Who owns what:
//   - queue: callers and the step worker, under its mutex;
//   - machine and applyQueue: the apply worker that has the replica scheduled, and the queue's mutex;
//   - the published atomics: written by the step worker, read by anybody;
//   - everything below "owned by the step worker": that worker's RunOnce alone.
type Replica struct {
	engine    *Engine
	worker    *StepWorker
	shardID   uint64
	replicaID uint64
	session   uint64
	machine   *rsm.Manager
	witness   bool // serves nothing

	queue      proposalQueue
	applyQueue applyQueue
	snapshots  replicaSnapshots // its first line is the apply worker's

	// refusal, if set, answers every proposal at once, with no lock, allocation or clock.
	refusal atomic.Pointer[error]
	// Published for callers.
	publishedLeader atomic.Uint64
	publishedTerm   atomic.Uint64
	leading         atomic.Bool
	recovering      atomic.Bool // the state machine's state is being replaced by a snapshot's
	freshness       publishedFreshness

	// Owned by the step worker.
	core                        *raft.Core
	pending                     pendingTable
	waitingReads                []*readBatch // taken, not confirmed yet, in the order of their deadlines
	readyReads                  []*readBatch // confirmed at an index that was not handed to the apply pool yet
	servedReads                 []*readBatch // handed to the apply pool; kept for their deadline
	nextRead                    uint64
	readsAgain                  raft.Instant // when some of waitingReads are asked for again, 0 for none
	lateReads                   raft.Instant // deadline of the first confirmed read that stands behind one that was asked later, 0 for none
	transfers                   []transfer
	changes                     []memberChange
	departure                   *departure // set from StopReplica until the stop while leadership is handed over
	handedOver                  uint64     // last index handed to the apply pool
	startedTerm                 uint64     // the leadership that the state machine is told of, 0 for none
	storage                     raft.StorageState
	routes                      []route
	routesOf                    *raftpb.Membership
	promised                    raft.Promised
	auditEvery                  time.Duration // 0: no audits
	auditAt                     raft.Instant  // when a leader makes the next one, 0: when there are commands again
	auditPoint                  uint64        // index of the last point that was handed over
	auditBehind                 bool          // commands were handed over since the last point
	promiseDirty, promiseListed bool
	touched                     bool
	hasRequests                 bool
	waiting                     bool // the queue is to be looked at again after the next commit
	overloaded                  bool
	quarantined                 bool
	fenced                      bool
	stopped                     bool
	renewal                     *renewal // not nil while it is started anew
	install                     *installation
	receiving                   *incoming // the last stream that was begun, or is to take the place of one
	retimed                     bool      // by SetTimeouts, and to what
	election, heartbeat         time.Duration
	removed                     error // set once it was shown that the replica is no member any more
	lastCommit                  uint64
	witnessCompacted            uint64 // by compactWitness
	toldApplied                 uint64
	progressAt                  raft.Instant // last commit, or last batch taken
	lookedAt                    raft.Instant // when the queue was last looked at while it waited
	queuedSince                 raft.Instant // since when the oldest batch is known to wait in the queue, 0 for none
	// applyWanted asks the apply worker to signal the step worker after its next turn.
	applyWanted atomic.Bool

	place int // in StepWorker.all

	// The wheel's links; see wheel.
	wheelNext, wheelPrevious *Replica
	wheelSlot                int64
	wheelDeadline            raft.Instant
	wheelArmed               bool

	// What is used now and then stands behind what every input touches.
	factory  rsm.Factory
	settings raft.Options // without session, seed and next incarnation, which are drawn anew for every core
	views    replicaViews // being sent
}

// ShardID returns the shard.
func (r *Replica) ShardID() uint64 { return r.shardID }

// ReplicaID returns the replica's ID within the shard.
func (r *Replica) ReplicaID() uint64 { return r.replicaID }

// Leader returns the leader known here, 0 for none, and its term. Safe for concurrent use.
func (r *Replica) Leader() (replicaID, term uint64) {
	return r.publishedLeader.Load(), r.publishedTerm.Load()
}

// Leading reports whether this replica leads, as far as it knows. Safe for concurrent use.
func (r *Replica) Leading() bool { return r.leading.Load() }

// Applied returns the index that Lookups reflect. Safe for concurrent use.
func (r *Replica) Applied() uint64 { return r.machine.Applied() }

// Propose queues a command and calls completion exactly once with its outcome, unless it returns an error: then the command was
// surely not applied and completion is not called. expectedTerm, if not 0, is the only term in which the command may
// enter the log. The command is copied. Safe for concurrent use, also from a completion.
func (r *Replica) Propose(command []byte, expectedTerm uint64, completion Completion) error {
	if refusal := r.refusal.Load(); refusal != nil {
		return *refusal
	}
	limits := &r.engine.limits
	if len(command) > limits.maxCommand {
		return r.tooLarge(command)
	}
	_, _, signal, err := r.queue.add(limits, command, expectedTerm, nil, completion)
	if signal {
		r.worker.requests(r)
	}
	return err
}

// Ticket is a blocking caller's place in a batch.
type Ticket struct {
	group    *waitGroup
	position uint32
}

// Done is closed once the outcome is there. All callers of a batch share it.
func (t Ticket) Done() <-chan struct{} { return t.group.done }

// Outcome returns the outcome; call it only after Done was closed.
func (t Ticket) Outcome() (rsm.Result, error) {
	o := &t.group.outcomes[t.position]
	return o.result, o.err
}

// ProposeTicket queues a command like Propose and returns the caller's place for waiting.
func (r *Replica) ProposeTicket(command []byte, expectedTerm uint64) (Ticket, error) {
	return r.proposeTicket(command, expectedTerm, nil)
}

func (r *Replica) proposeTicket(command []byte, expectedTerm uint64, fields *SessionFields) (Ticket, error) {
	if refusal := r.refusal.Load(); refusal != nil {
		return Ticket{}, *refusal
	}
	limits := &r.engine.limits
	if len(command) > limits.maxCommand {
		return Ticket{}, r.tooLarge(command)
	}
	p, position, signal, err := r.queue.add(limits, command, expectedTerm, fields, nil)
	if err != nil {
		return Ticket{}, err
	}
	if signal {
		r.worker.requests(r)
	}
	return Ticket{p.group, position}, nil
}

// Read calls completion exactly once with the answer to a linearizable read, unless it returns an error. Safe for concurrent use.
func (r *Replica) Read(query any, completion ReadCompletion) error {
	if r.witness {
		return ErrWitness
	}
	if failure := r.machine.Failure(); failure != nil {
		return failure
	}
	_, signal, err := r.queue.addRead(r.engine.options.MaxOpenReads, query, completion)
	if signal {
		r.worker.requests(r)
	}
	return err
}

// ReadTicket is a blocking reader's place.
type ReadTicket struct{ batch *readBatch }

// Done is closed once the read may be served, or has failed.
func (t ReadTicket) Done() <-chan struct{} { return t.batch.waiters }

// Err says whether the read failed; call it only after Done was closed.
func (t ReadTicket) Err() error { return t.batch.blockErr }

// ReadTicket queues a linearizable read; after Done and a nil Err the caller calls Lookup itself, on its own goroutine.
func (r *Replica) ReadTicket() (ReadTicket, error) {
	if r.witness {
		return ReadTicket{}, ErrWitness
	}
	if failure := r.machine.Failure(); failure != nil {
		return ReadTicket{}, failure
	}
	batch, signal, err := r.queue.addRead(r.engine.options.MaxOpenReads, nil, nil)
	if err != nil {
		return ReadTicket{}, err
	}
	if signal {
		r.worker.requests(r)
	}
	return ReadTicket{batch}, nil
}

// Lookup asks the state machine as it is here and now.
func (r *Replica) Lookup(query any) (any, error) {
	value, err := r.machine.Lookup(query)
	if err != nil && errors.Is(err, rsm.ErrClosed) {
		return nil, ErrStopped
	}
	return value, err
}

// Status calls done with a copy of the core's state, on the step worker.
func (r *Replica) Status(done func(raft.Status, error)) {
	done = guardedValue(done)
	r.worker.control(func(w *StepWorker) {
		if r.absent() {
			done(raft.Status{}, r.endedErr())
			return
		}
		defer w.guard(r)
		done(r.core.Status(), nil)
	})
}

// MinRoundTrip belongs to the step worker; it decides how many batches may be in flight.
func (r *Replica) batchesInFlightAllowed() int {
	return 1 + int(r.core.MinRoundTrip()/time.Millisecond)
}

func (r *Replica) endedErr() error {
	switch {
	case r.fenced:
		return ErrFenced
	case r.renewal != nil && !r.stopped:
		return ErrNoLeader
	case r.quarantined:
		return ErrQuarantined
	}
	return ErrStopped
}

// refuse makes every later proposal end at once with err; nil accepts them again.
func (r *Replica) refuse(err error) {
	if err == nil {
		r.refusal.Store(nil)
		return
	}
	r.refusal.Store(&err)
}
