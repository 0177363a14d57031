package engine

import (
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// StepWorker owns a set of shards and alone touches their cores. See the package comment for one iteration.
type StepWorker struct {
	engine *Engine
	name   string
	sig    signal

	mu           sync.Mutex
	inbox        inbox
	freeSaved    [][]savedEvent // recycled by written
	inboxDropped uint64

	// Owned by RunOnce.
	now        raft.Instant
	work       inbox
	replicas   map[uint64]*Replica // by shard; looked up, never iterated
	all        []*Replica
	wheel      wheel
	due        []*Replica
	touched    []*Replica
	out        raft.Output
	owners     []*Replica // of out.Saves
	items      []applyItem
	applied    []*Replica // scheduled for the apply pool in this iteration
	outboxes   map[string]*outbox
	posted     []*outbox
	refused    []raftpb.Message
	transferID uint64
	changeID   uint64
	storage    raft.StorageState
	departures []*Replica // have handed over, or had their time for it, and are stopped in this iteration
	renewals   []*Replica // healed in this iteration
	stops      []*stopWatch
	barriers   []writeItem // of replicas that were stopped in this iteration; they go behind its updates
	promises   promiseBatch
	counters   stepCounters
	warming    warming

	published struct {
		iterations, touches, events, fenced, unroutable, stuck, leaseReads, roundReads atomic.Uint64
	}
}

// stepCounters are the worker's own totals, published at the end of each RunOnce.
type stepCounters struct {
	iterations uint64
	touches    uint64 // replicas touched: none when nothing is due
	events     uint64 // inputs given to cores
	fenced     uint64
	unroutable uint64 // messages to replicas whose host is not known
	leaseReads uint64 // batches of reads that a lease showed to be current
	roundReads uint64 // those that took a round of heartbeats, here or at the leader
	stuck      uint64
}

func newStepWorker(e *Engine, name string) *StepWorker {
	return &StepWorker{
		engine:   e,
		name:     name,
		sig:      newSignal(),
		replicas: make(map[uint64]*Replica),
		outboxes: make(map[string]*outbox),
		promises: promiseBatch{due: raft.Never},
	}
}

// Name implements Worker.
func (w *StepWorker) Name() string { return w.name }

// Ready implements Worker.
func (w *StepWorker) Ready() bool { return w.sig.ready() }

func (w *StepWorker) signal() *signal { return &w.sig }

// RunOnce is one iteration: take all inputs, step each touched core, send what may go, hand what must be durable to the log
// writer and what is committed to the apply pool. It never blocks.
func (w *StepWorker) RunOnce(now raft.Instant) raft.Instant {
	w.sig.clear()
	w.now = now
	w.counters.iterations++
	w.mu.Lock()
	w.inbox, w.work = w.work, w.inbox
	w.mu.Unlock()

	if len(w.work.messages) > 0 && w.engine.suspensionCounts.Load() {
		// now may be older than a message, by as long as the process stood still since it was read. A clock that is told, or compared with
		// one that was told, by such a reading seems to drift, and costs leases: it is read again where there are any.
		w.now = max(now, w.engine.options.Clock.Now())
	}
	w.observeStorage()
	w.takeInputs()
	w.due = w.wheel.fire(now, w.due[:0])
	for _, r := range w.due {
		w.tick(r)
	}
	w.advanceTouched()
	w.endDepartures()
	w.beginRenewals()
	w.work.reset()
	w.flush()
	watch := w.engine.apply.watch(now)
	w.publish()
	return min(w.deadline(), watch)
}

func (w *StepWorker) deadline() raft.Instant {
	if len(w.touched) > 0 || len(w.departures) > 0 {
		return w.now // cores that were cut short by a limit go on at once
	}
	return min(w.wheel.next(), w.promises.due, w.expireStops())
}

func (w *StepWorker) takeInputs() {
	work := &w.work
	for _, f := range work.controls {
		f(w)
	}
	for i, event := range work.saved {
		w.warmSaved(work.saved, i)
		w.stepSaved(event)
	}
	for i := range work.messages {
		w.warmMessages(work.messages, i)
		w.stepMessage(&work.messages[i])
	}
	for i := range work.reads {
		w.stepLogRead(&work.reads[i])
	}
	for i := range work.links {
		w.stepLink(&work.links[i])
	}
	for i, r := range work.requests {
		w.warmRequests(work.requests, i)
		r.hasRequests = true
		w.touch(r)
		if r.renewal != nil {
			r.refuseQueued()
		}
	}
}

// touch puts a replica on the list of those that advance in this iteration.
func (w *StepWorker) touch(r *Replica) {
	if r.touched || r.absent() {
		return
	}
	r.touched = true
	w.touched = append(w.touched, r)
}

// enter prepares a replica for an input: what changed on the host since its last one is told to its core first.
func (w *StepWorker) enter(r *Replica) bool {
	if r.absent() {
		return false
	}
	w.counters.events++
	w.touch(r)
	w.tellStorage(r)
	return true
}

// tellStorage tells a core the state of the host's log store if that has changed since it last heard of it.
func (w *StepWorker) tellStorage(r *Replica) {
	if r.storage != w.storage {
		r.storage = w.storage
		r.core.SetStorage(w.now, w.storage)
	}
}

func (w *StepWorker) stepSaved(event savedEvent) {
	r := event.replica
	defer w.guard(r)
	if w.enter(r) {
		r.core.Saved(w.now, event.number)
		r.promiseDirty = true
		w.installSaved(r, event.number)
	}
}

func (w *StepWorker) stepMessage(in *received) {
	r := w.replicas[in.message.ShardID]
	if r == nil || r.replicaID != in.message.To {
		w.counters.unroutable++
		return
	}
	defer w.guard(r)
	if w.enter(r) {
		w.learn(r, in.message.From, in.from)
		r.core.Step(w.now, &in.message)
	}
}

func (w *StepWorker) stepLogRead(result *logReadResult) {
	r := result.replica
	defer w.guard(r)
	if w.enter(r) {
		if result.err != nil && result.request.Follower != 0 {
			w.engine.events.publish(Event{
				Kind: EventFollowerFailed, ShardID: r.shardID, ReplicaID: r.replicaID, Peer: result.request.Follower, Err: result.err,
			})
		}
		r.core.LogReadDone(w.now, result.request, result.batches, result.err)
	}
}

func (w *StepWorker) unreachable(r *Replica, member uint64) {
	defer w.guard(r)
	if w.enter(r) {
		r.core.Unreachable(w.now, member)
	}
}

func (w *StepWorker) unsent(r *Replica, member uint64) {
	defer w.guard(r)
	if w.enter(r) {
		r.core.Refused(w.now, member)
	}
}

func (w *StepWorker) tick(r *Replica) {
	defer w.guard(r)
	if w.enter(r) {
		if r.install == nil {
			r.core.Applied(r.machine.Applied())
		}
		if r.core.Deadline() <= w.now {
			r.core.Tick(w.now)
		}
		w.expire(r)
		w.expireDeparture(r)
	}
}

// guard fences the replica whose step panicked. It is deferred round every call into a core.
func (w *StepWorker) guard(r *Replica) {
	if value := recover(); value != nil {
		w.fence(r, value, debug.Stack())
	}
}

// advanceTouched lets every touched replica take requests and drains its core. Completions called here may propose
// again; that lands in the inbox, not in this list.
func (w *StepWorker) advanceTouched() {
	n := len(w.touched)
	w.counters.touches += uint64(n)
	for i := 0; i < n; i++ {
		w.warmTouched(i, n)
		r := w.touched[i]
		r.touched = false
		if !r.absent() {
			w.advance(r)
		}
		w.touched[i] = nil
	}
	w.touched = append(w.touched[:0], w.touched[n:]...)
}

// flush lets the iteration's output go: messages first, then the updates to the log writer (thesis 10.2.1), then what is committed
// to the apply pool.
func (w *StepWorker) flush() {
	w.send()
	w.save()
	for _, barrier := range w.barriers {
		w.engine.writer.submit(barrier)
	}
	clear(w.barriers)
	w.barriers = w.barriers[:0]
	if len(w.applied) > 0 {
		w.engine.apply.submit(w.applied)
		clear(w.applied)
		w.applied = w.applied[:0]
	}
	w.engine.reader.submit(w)
	w.out.Reset()
	w.flushPromises()
}

// save encodes the iteration's updates into one group and hands it to the log writer.
func (w *StepWorker) save() {
	if len(w.out.Saves) == 0 && len(w.out.Compactions) == 0 {
		return
	}
	defer w.forgetOwners()
	group := w.engine.options.LogDB.NewGroup()
	saved := w.savedList()
	for i := range w.out.Saves {
		r, save := w.owners[i], &w.out.Saves[i]
		if r.fenced {
			continue // its unsent output is thrown away whole (R24)
		}
		if err := group.Save(save); err != nil {
			w.fence(r, err, debug.Stack())
			continue
		}
		saved = append(saved, savedEvent{r, save.Number})
	}
	w.compact(group)
	w.engine.writer.submit(writeItem{group: group, worker: w, saved: saved})
}

// forgetOwners ends save. A log store that panicked while its group was filled has failed: nothing of this iteration is
// written, and the latch sees to it that nothing which waits for a write is ever said (R9).
func (w *StepWorker) forgetOwners() {
	if value := recover(); value != nil {
		w.engine.storageFailed(w.engine.storePanicked(value))
	}
	clear(w.owners)
	w.owners = w.owners[:0]
}

func (w *StepWorker) savedList() []savedEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.freeSaved); n > 0 {
		list := w.freeSaved[n-1]
		w.freeSaved = w.freeSaved[:n-1]
		return list
	}
	return nil
}

// observeStorage follows the state of the host's log store. Failed and stalled concern every replica at once; busy and full are
// told to each core with its next input or request.
func (w *StepWorker) observeStorage() {
	state := w.engine.storageState(w.now)
	if state == w.storage {
		return
	}
	urgent := max(state, w.storage) >= raft.StorageFailed
	w.storage = state
	if !urgent {
		return
	}
	for _, r := range w.all {
		func() {
			defer w.guard(r)
			w.enter(r)
		}()
	}
}

func (w *StepWorker) publish() {
	w.published.iterations.Store(w.counters.iterations)
	w.published.touches.Store(w.counters.touches)
	w.published.events.Store(w.counters.events)
	w.published.fenced.Store(w.counters.fenced)
	w.published.unroutable.Store(w.counters.unroutable)
	w.published.leaseReads.Store(w.counters.leaseReads)
	w.published.roundReads.Store(w.counters.roundReads)
	w.published.stuck.Store(w.counters.stuck)
}
