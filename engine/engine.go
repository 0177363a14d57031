package engine

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-multierror"
	"github.com/lni/goutils/syncutil"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// Engine schedules the replicas of one host. New makes it; Start gives its workers goroutines, or a test or simulator calls
// RunOnce on Workers by itself. It implements transport.Handler.
type Engine struct {
	options Options
	limits  queueLimits

	workers    []*StepWorker
	writer     *logWriter
	apply      *applyPool
	reader     *logReads
	saving     *jobPool // snapshots, and syncs of state machines on disk
	recovering *jobPool // recoveries and opens
	streaming  *jobPool // views that are sent to other hosts
	sender     *sender
	receivers  []*receiver
	keeper     *snapshotKeeper
	watch      *jobWatch
	log        *countedLog
	promises   *promiseKeeper
	events     *eventQueue
	stopper    *syncutil.Stopper
	applying   sync.WaitGroup // apply workers, and those of the job pools

	listening sync.WaitGroup // the worker that calls the listener

	failure          atomic.Pointer[error] // the latch of R9
	stalled          atomic.Bool
	full             atomic.Bool
	leaderChanges    atomic.Uint64
	suspensionCounts atomic.Bool // see countSuspension

	transportPanics atomic.Uint64
	counts          snapshotCounts
	paced           bool // there are goroutines, which may sleep

	mu       sync.Mutex
	started  map[uint64]bool // shards that are started or being started
	stopping bool            // no goroutine is started any more
}

// New returns an engine without goroutines.
func New(options Options) (*Engine, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options.withDefaults()
	e := &Engine{
		options: options,
		limits: queueLimits{
			maxCommand:    options.MaxCommandBytes,
			maxBatchBytes: options.MaxBatchBytes,
			maxOpenBytes:  options.MaxOpenBytes,
		},
		started: make(map[uint64]bool),
		stopper: syncutil.NewStopper(),
	}
	e.log = &countedLog{LogDB: options.LogDB}
	e.options.LogDB = e.log
	e.events = newEventQueue(options.Listener, options.MaxEvents)
	e.writer = newLogWriter(e)
	e.apply = newApplyPool(e, options.ApplyWorkers)
	e.reader = newLogReads(e, options.LogReaders)
	e.saving = newJobPool(e, "snapshot", options.SnapshotWorkers)
	e.recovering = newJobPool(e, "recovery", options.RecoverWorkers)
	e.streaming = newJobPool(e, "stream", options.StreamWorkers)
	e.sender = newSender(e)
	for i := range snapshotReceivers {
		e.receivers = append(e.receivers, &receiver{engine: e, name: "snapshot receiver " + strconv.Itoa(i), sig: newSignal()})
	}
	e.keeper = &snapshotKeeper{engine: e, sig: newSignal()}
	e.watch = &jobWatch{engine: e, sig: newSignal()}
	e.promises = &promiseKeeper{engine: e, sig: newSignal(), store: options.Promises}
	for i := range options.StepWorkers {
		e.workers = append(e.workers, newStepWorker(e, "step "+strconv.Itoa(i)))
	}
	return e, nil
}

// Workers returns every worker of the engine, in a fixed order. The apply pool may grow by itself only after Start.
func (e *Engine) Workers() []Worker {
	var all []Worker
	for _, w := range e.workers {
		all = append(all, w)
	}
	all = append(all, e.writer)
	for _, w := range e.apply.workers {
		all = append(all, w)
	}
	for _, w := range slices.Concat(e.saving.workers, e.recovering.workers, e.streaming.workers) {
		all = append(all, w)
	}
	for _, w := range e.receivers {
		all = append(all, w)
	}
	for _, w := range e.reader.readers {
		all = append(all, w)
	}
	return append(all, e.sender, e.keeper, e.watch, e.promises, e.events)
}

// workerOf spreads shards over the step workers by a mixed hash; nothing on disk depends on it.
func (e *Engine) workerOf(shardID uint64) *StepWorker {
	mixed := shardID * 0x9e3779b97f4a7c15
	mixed ^= mixed >> 32
	high, _ := bits.Mul64(mixed*0xd6e8feb86659fd93, uint64(len(e.workers)))
	return e.workers[high]
}

func (e *Engine) reserve(shardID uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.started[shardID] {
		return fmt.Errorf("%w: shard %d", ErrAlreadyStarted, shardID)
	}
	e.started[shardID] = true
	return nil
}

func (e *Engine) release(shardID uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.started, shardID)
}

func (e *Engine) nonZeroRandom() uint64 {
	for {
		if n := e.options.Random(); n != 0 {
			return n
		}
	}
}

// storageFailed sets the latch of R9: nothing is written, voted for, acknowledged or led on this host until the process
// starts again.
func (e *Engine) storageFailed(err error) {
	if !e.failure.CompareAndSwap(nil, &err) {
		return
	}
	e.options.Logger.Error("log store failed; the host takes no more writes until a restart", "error", err)
	e.events.publish(Event{Kind: EventStorageFailed, Err: err})
	for _, w := range e.workers {
		w.sig.set()
	}
}

// Retire sets the latch of a failed log store for a cause from outside: the host takes no part any more until a restart. Safe for
// concurrent use.
func (e *Engine) Retire(cause error) { e.storageFailed(cause) }

// StorageFailure returns why the log store failed, or nil.
func (e *Engine) StorageFailure() error {
	if err := e.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// SetDiskFull says whether the disk is below its reserve (R10): proposals are refused, reads and elections go on.
func (e *Engine) SetDiskFull(full bool) {
	if e.full.Swap(full) == full {
		return
	}
	for _, w := range e.workers {
		w.sig.set()
	}
}

// storageState says what cores have to know about the log store at now.
func (e *Engine) storageState(now raft.Instant) raft.StorageState {
	if e.failure.Load() != nil {
		return raft.StorageFailed
	}
	oldest := raft.Instant(e.writer.oldest.Load())
	stalled := oldest != 0 && now-oldest > raft.Instant(e.options.MaxStall)
	if e.stalled.Load() != stalled && e.stalled.CompareAndSwap(!stalled, stalled) {
		kind := EventStorageRecovered
		if stalled {
			kind = EventStorageStalled
		}
		e.options.Logger.Warn("log store", "stalled", stalled)
		e.events.publish(Event{Kind: kind})
	}
	switch {
	case stalled:
		return raft.StorageStalled
	case e.full.Load():
		return raft.StorageFull
	case e.writer.bytes.Load() > e.options.MaxWriteBytes:
		return raft.StorageBusy
	}
	return raft.StorageOK
}

// NewChunk implements transport.Handler.
func (e *Engine) NewChunk(size int) transport.Chunk {
	number, bytes := e.options.Cache.NewChunk(size)
	return transport.Chunk{Number: number, Bytes: bytes}
}

// Receive implements transport.Handler: one append and one signal per step worker and frame.
func (e *Engine) Receive(from transport.HostIdentity, lane transport.Lane, messages []raftpb.Message) {
	if lane == transport.LaneSnapshot {
		e.receiveStreams(messages, from.Address)
		return
	}
	if len(e.workers) == 1 {
		e.workers[0].receive(messages, from.Address, false)
		return
	}
	for _, w := range e.workers {
		w.receive(messages, from.Address, true)
	}
}

// PeerUp implements transport.Handler.
func (e *Engine) PeerUp(address string, lane transport.Lane, _ transport.HostIdentity) {
	if lane == transport.LaneSnapshot {
		return // streams go on by themselves
	}
	e.events.publish(Event{Kind: EventConnectionUp, Address: address})
	for _, w := range e.workers {
		w.link(linkEvent{address: address, up: true})
	}
}

// PeerDown implements transport.Handler.
func (e *Engine) PeerDown(address string, lane transport.Lane, err error) {
	if lane == transport.LaneSnapshot {
		return // it says nothing of the others, and who waits for chunks asks again
	}
	e.events.publish(Event{Kind: EventConnectionDown, Address: address, Err: err})
	for _, w := range e.workers {
		w.link(linkEvent{address: address, up: false, err: err})
	}
}

// Counters are totals since the engine was made.
type Counters struct {
	StepIterations  uint64
	ReplicasTouched uint64 // by step workers; an iteration with nothing due touches none
	CoreEvents      uint64
	GroupCommits    uint64
	LeaderChanges   uint64 // times a replica here learned of another leader
	ReplicasFenced  uint64
	EventsDropped   uint64
	MessagesDropped uint64 // by full inboxes
	Unroutable      uint64 // messages for, or to, replicas that are not known
	TransportPanics uint64 // calls of the transport that panicked; they count as refused
	FollowersStuck  uint64 // times that a follower which answers stood still, see EventFollowerStuck
	// How often a replica here saw a second leader in its term (R20), was found to have lost what it had promised, or found that
	// of a follower (R14), was healed (R15), was quarantined (R24), or learned that a quorum's data is lost (R16).
	SecondLeaders, ReplicasAbstained, ReplicasHealed, ReplicasQuarantined, DataLosses uint64
	// LogReads are reads of the log store by the log readers, for followers and state machines that are behind. LogReadsElsewhere are
	// all others; there are none, since any other worker would wait for the disk.
	// LogReadsAhead are requests that were answered with what had been read before they came.
	LogReads, LogReadsElsewhere, LogReadsAhead uint64
	// LeaseReads are batches of reads of this host, also those that it passed on to a leader elsewhere, that the leader's lease showed to be
	// current, RoundReads those that took a round of heartbeats.
	LeaseReads, RoundReads uint64
	WriteBytes             int64 // accepted and not yet durable
	// StorageStalls counts how often a write took longer than Options.MaxStall, OldestWrite is how long the oldest under way has taken.
	StorageStalls uint64
	OldestWrite   time.Duration
	// Snapshots are those taken here, of SnapshotBytes; MachineSyncs those of state machines on disk, which have no file.
	// SnapshotsFailed were given up, SnapshotsDamaged could not be recovered from, and MachinesStuck are calls that stood still.
	Snapshots, SnapshotBytes, MachineSyncs, SnapshotsFailed, SnapshotsDamaged, MachinesStuck uint64
	// Recoveries are state machines that recovered from a snapshot, Compactions the times that a replica let go of log.
	Recoveries, Compactions uint64
	// Of snapshots on their way between hosts: StreamsSent and StreamsReceived came to their end, StreamsFailed did not, at either end, and
	// SnapshotsInstalled are those that a replica here begins anew behind. Bytes are of the snapshots, those sent again included, of
	// which StreamBytesAgain are a part. ChunksDamaged had another checksum than they were sent with, ChunksStray belonged to no stream.
	StreamsSent, StreamsReceived, StreamsFailed, SnapshotsInstalled uint64
	StreamBytesSent, StreamBytesAgain, StreamBytesReceived          uint64
	ChunksDamaged, ChunksStray                                      uint64
}

// Counters returns a copy. Safe for concurrent use.
func (e *Engine) Counters() Counters {
	c := Counters{
		GroupCommits:  e.writer.commits.Load(),
		LeaderChanges: e.leaderChanges.Load(),
		EventsDropped: e.events.Dropped(),

		TransportPanics:     e.transportPanics.Load(),
		SecondLeaders:       e.events.count(EventSecondLeader),
		ReplicasAbstained:   e.events.count(EventReplicaAbstaining),
		ReplicasHealed:      e.events.count(EventReplicaHealed),
		ReplicasQuarantined: e.events.count(EventReplicaQuarantined),
		DataLosses:          e.events.count(EventDataLost),
		WriteBytes:          e.writer.bytes.Load(),
		StorageStalls:       e.events.count(EventStorageStalled),
		OldestWrite:         e.oldestWrite(e.options.Clock.Now()),
		Snapshots:           e.counts.snapshots.Load(),
		SnapshotBytes:       e.counts.snapshotBytes.Load(),
		MachineSyncs:        e.counts.syncs.Load(),
		SnapshotsFailed:     e.events.count(EventSnapshotFailed),
		SnapshotsDamaged:    e.events.count(EventSnapshotDamaged),
		MachinesStuck:       e.events.count(EventMachineStuck),
		Recoveries:          e.counts.recoveries.Load(),
		Compactions:         e.counts.compactions.Load(),
		StreamsSent:         e.counts.streamsSent.Load(),
		StreamsReceived:     e.counts.streamsReceived.Load(),
		StreamsFailed:       e.counts.streamsFailed.Load() + e.counts.receivesFailed.Load(),
		SnapshotsInstalled:  e.counts.installs.Load(),
		StreamBytesSent:     e.counts.streamBytesSent.Load(),
		StreamBytesAgain:    e.counts.streamBytesAgain.Load(),
		StreamBytesReceived: e.counts.streamBytesReceived.Load(),
		ChunksDamaged:       e.counts.chunksDamaged.Load(),
		ChunksStray:         e.counts.chunksStray.Load(),
	}
	// A log reader counts before it reads, so what is seen of all reads before its own are looked at is among them.
	all := e.log.reads.Load()
	c.LogReads, c.LogReadsAhead = e.reader.reads.Load(), e.reader.ahead.Load()
	c.LogReadsElsewhere = all - min(all, c.LogReads)
	for _, w := range e.workers {
		c.StepIterations += w.published.iterations.Load()
		c.ReplicasTouched += w.published.touches.Load()
		c.CoreEvents += w.published.events.Load()
		c.ReplicasFenced += w.published.fenced.Load()
		c.FollowersStuck += w.published.stuck.Load()
		c.Unroutable += w.published.unroutable.Load()
		c.LeaseReads += w.published.leaseReads.Load()
		c.RoundReads += w.published.roundReads.Load()
		w.mu.Lock()
		c.MessagesDropped += w.inboxDropped
		w.mu.Unlock()
	}
	return c
}

// MaxStopWait returns what Options say of it.
func (e *Engine) MaxStopWait() time.Duration { return e.options.MaxStopWait }

// AbandonStarts ends the starts whose state machines are still being brought up: they are asked to break off, and if one does not within
// MaxStopWait whoever started it is answered ErrStuck all the same.
func (e *Engine) AbandonStarts() { e.recovering.cancelAll(ErrStopped) }

// Stop ends the goroutines that Start made and waits for them; for those inside a state machine or a listener that does not return at
// most MaxStopWait each, then it reports ErrStuck and leaves them behind. Stop every replica first: what is still pending afterwards is never
// answered. The promises that are not recorded yet are recorded.
func (e *Engine) Stop() error {
	e.mu.Lock()
	e.stopping = true
	e.mu.Unlock()
	e.stopper.Stop()
	var faults *multierror.Error
	if !e.waitFor(&e.applying) {
		faults = multierror.Append(faults, fmt.Errorf("%w: a state machine has not returned after %s", ErrStuck, e.options.MaxStopWait))
	}
	for _, w := range e.workers {
		w.promises.due = 0
		w.flushPromises()
	}
	e.promises.RunOnce(0)
	if !e.tellTheRest() {
		faults = multierror.Append(faults, fmt.Errorf("%w: the listener of events has not returned after %s", ErrStuck, e.options.MaxStopWait))
	}
	if err := e.StorageFailure(); err != nil {
		faults = multierror.Append(faults, fmt.Errorf("%w: %w", ErrStorageFailed, err))
	}
	return faults.ErrorOrNil()
}

// validate lists every fault of a replica's options.
func (o *ReplicaOptions) validate() error {
	var faults *multierror.Error
	if o.ShardID == 0 {
		faults = multierror.Append(faults, fmt.Errorf("ShardID is 0, accepted is 1 and above"))
	}
	if o.ReplicaID == 0 {
		faults = multierror.Append(faults, fmt.Errorf("ReplicaID is 0, accepted is 1 and above"))
	}
	if err := o.Snapshots.Validate(); err != nil {
		faults = multierror.Append(faults, err)
	}
	if o.Join && len(o.Members) > 0 {
		faults = multierror.Append(faults, fmt.Errorf("Members has %d entries, accepted is none together with Join", len(o.Members)))
	}
	if _, member := o.Members[o.ReplicaID]; len(o.Members) > 0 && !member {
		faults = multierror.Append(faults, fmt.Errorf("Members does not hold ReplicaID %d", o.ReplicaID))
	}
	for _, id := range slices.Sorted(maps.Keys(o.Members)) {
		if id == 0 || o.Members[id] == "" {
			faults = multierror.Append(faults, fmt.Errorf("Members[%d] is %q, accepted is an ID above 0 with an address", id, o.Members[id]))
		}
	}
	voters := len(o.Members)
	for _, id := range slices.Sorted(maps.Keys(o.Kinds)) {
		if o.Members[id] == "" || o.Kinds[id] < raftpb.Voter || o.Kinds[id] > raftpb.Witness {
			faults = multierror.Append(faults, fmt.Errorf("Kinds[%d] is %d, accepted is a kind of one of Members", id, o.Kinds[id]))
		} else if o.Kinds[id] != raftpb.Voter {
			voters--
		}
	}
	if len(o.Members) > 0 && voters <= 0 {
		faults = multierror.Append(faults, fmt.Errorf("Kinds leaves no voter among %d Members", len(o.Members)))
	}
	for _, id := range slices.Sorted(maps.Keys(o.Priorities)) {
		if o.Members[id] == "" {
			faults = multierror.Append(faults, fmt.Errorf("Priorities[%d] is set, accepted are those of Members", id))
		}
	}
	if faults == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalidOptions, faults)
}
