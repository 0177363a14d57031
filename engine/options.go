package engine

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
	"github.com/flotilla-raft/flotilla/transport"
)

// Options configure an engine. LogDB, Transport, Cache, Promises and Random are required; the zero value of every other
// field means its default.
type Options struct {
	// Address is where other hosts reach this one.
	Address string
	// LogDB, Transport and Cache are used, not owned: whoever made them closes them, after the engine.
	LogDB     logdb.LogDB
	Transport transport.Transport
	Cache     *logdb.Cache
	// Promises keeps what replicas promised (R14).
	Promises PromiseStore
	// Snapshots keeps the snapshots of state machines in memory. It is used, not owned. Default: none are taken.
	Snapshots *snapshot.Directory
	// SnapshotWorkers is how many snapshots are taken, and how many state machines sync, at the same time; RecoverWorkers how many
	// recover, or are opened. One that does not return keeps its place. Defaults 2 and max(2, GOMAXPROCS/2).
	SnapshotWorkers, RecoverWorkers int
	// SnapshotShare is the share of its time, above 0 and at most 1, that a worker takes for the snapshot of a state machine that goes on with
	// Updates meanwhile; otherwise it sleeps. Default 0.1: the shard, and its neighbours, come first.
	SnapshotShare float64
	// StreamWorkers is how many state machines on disk are sent to other hosts at the same time; others wait. For each, up to SnapshotWindowBytes and
	// a chunk are kept in memory. Default 4.
	StreamWorkers int
	// SnapshotSendBytesPerSecond bounds what this host sends of snapshots, all together; SnapshotStreamBytesPerSecond what it sends of one.
	// Default 0: no limit but what receivers take.
	SnapshotSendBytesPerSecond, SnapshotStreamBytesPerSecond int64
	// SnapshotChunkBytes is the size of a chunk of a snapshot on its way, default 256 KiB, at most 1 MiB; SnapshotWindowBytes how much of one may
	// be in flight, default 8 MiB, at least two chunks. What a lost connection costs is in flight.
	SnapshotChunkBytes, SnapshotWindowBytes int
	// Yield is called at each read and write of a snapshot, and again and again where one waits for its receiver, for who runs workers by hand
	// as coroutines. False says that no other worker is ever run again: what waits for one gives up. Default: nothing.
	Yield      func() (going bool)
	coroutines bool // Yield was given
	// Random returns random numbers for incarnations, sessions and seeds.
	Random func() uint64
	// Clock is read once per RunOnce by the goroutines that Start makes. Default: the system's monotonic clock.
	Clock Clock
	// Logger takes what an operator should know; nothing is logged per proposal. Default: discards.
	Logger *slog.Logger
	// Listener is called with every event, in order, on a goroutine (worker) of its own. Default: none.
	Listener func(Event)

	// StepWorkers is the number of step workers. Default max(1, GOMAXPROCS/2).
	StepWorkers int
	// LogReaders is how many reads of old log, for followers and state machines that are behind, go on at a time. Default 4.
	LogReaders int
	// ApplyWorkers is the number of apply workers. Default max(2, GOMAXPROCS/2). The pool grows by itself, up to
	// MaxApplyWorkers (default 64), when all of them are held up inside slow state machines.
	ApplyWorkers    int
	MaxApplyWorkers int

	// MaxCommandBytes bounds one command. Default 8 MiB, at most 64 MiB.
	MaxCommandBytes int
	// MaxBatchBytes is the size at which an open batch takes no further command. Default 1 MiB.
	MaxBatchBytes int
	// MaxOpenBytes bounds what waits in the open batches of one shard. Default 8 MiB.
	MaxOpenBytes int
	// MaxOpenReads bounds the reads of one shard that wait for the step worker. Default 65,536.
	MaxOpenReads int
	// MaxQueueDelay is how long proposals of a shard may wait behind uncommitted ones before further proposals are
	// refused with ErrBusy. Default 200 ms.
	MaxQueueDelay time.Duration
	// RequestTimeout ends every request that has no earlier deadline of its own. Default 10 s.
	RequestTimeout time.Duration

	// MaxWriteBytes is the host's budget for updates on their way to the disk (R13). Default 64 MiB, at most 512 MiB.
	MaxWriteBytes int64
	// MaxStall is how long one write may take before the host counts as stalled: it then hands its leaderships over and does not
	// campaign until the write ends (R9). Default 10 s.
	MaxStall time.Duration
	// MaxStopWait is how long stopping a replica may wait for its state machine to return and for its writes; then whoever stops it is
	// answered ErrStuck, and it goes on stopping by itself. Default 10 s.
	MaxStopWait time.Duration
	// PromiseInterval is how late a promise may be recorded (R14). Default 500 ms, at most 1 s.
	PromiseInterval time.Duration
	// MaxInboxMessages bounds the received messages that wait for one step worker; more are dropped and counted, which the
	// protocol survives. Default 262,144.
	MaxInboxMessages int
	// MaxEvents bounds the events that wait for the listener; more are dropped and counted. Default 4,096.
	MaxEvents int
}

func (o *Options) withDefaults() {
	setDefault(&o.StepWorkers, max(1, runtime.GOMAXPROCS(0)/2))
	setDefault(&o.LogReaders, 4)
	setDefault(&o.ApplyWorkers, max(2, runtime.GOMAXPROCS(0)/2))
	setDefault(&o.MaxApplyWorkers, max(64, o.ApplyWorkers))
	setDefault(&o.SnapshotWorkers, 2)
	setDefault(&o.RecoverWorkers, max(2, runtime.GOMAXPROCS(0)/2))
	setDefault(&o.StreamWorkers, 4)
	setDefault(&o.SnapshotChunkBytes, 256<<10)
	setDefault(&o.SnapshotWindowBytes, max(8<<20, 2*o.SnapshotChunkBytes))
	o.coroutines = o.Yield != nil
	if o.SnapshotShare == 0 {
		o.SnapshotShare = 0.1
	}
	if o.Yield == nil {
		o.Yield = func() bool { return true }
	}
	setDefault(&o.MaxCommandBytes, 8<<20)
	setDefault(&o.MaxBatchBytes, 1<<20)
	setDefault(&o.MaxOpenBytes, 8<<20)
	setDefault(&o.MaxOpenReads, 1<<16)
	setDefault(&o.MaxQueueDelay, 200*time.Millisecond)
	setDefault(&o.RequestTimeout, 10*time.Second)
	setDefault(&o.MaxWriteBytes, 64<<20)
	setDefault(&o.MaxStall, 10*time.Second)
	setDefault(&o.MaxStopWait, 10*time.Second)
	setDefault(&o.PromiseInterval, 500*time.Millisecond)
	setDefault(&o.MaxInboxMessages, 1<<18)
	setDefault(&o.MaxEvents, 4096)
	if o.Clock == nil {
		o.Clock = NewSystemClock()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = GuardLogger(o.Logger)
	if o.Listener == nil {
		o.Listener = func(Event) {}
	}
}

func setDefault[T int | int64 | uint64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// maxCommandBytes keeps a batch of one command, and the frame round it, within 32 bit lengths.
const maxCommandBytes = 64 << 20

// Validate lists every fault of the options at once; the error matches ErrInvalidOptions.
func (o *Options) Validate() error {
	var faults *multierror.Error
	fault := func(format string, arguments ...any) {
		faults = multierror.Append(faults, fmt.Errorf(format, arguments...))
	}
	for _, required := range []struct {
		name    string
		missing bool
	}{
		{"Address", o.Address == ""}, {"LogDB", o.LogDB == nil}, {"Transport", o.Transport == nil},
		{"Cache", o.Cache == nil}, {"Promises", o.Promises == nil}, {"Random", o.Random == nil},
	} {
		if required.missing {
			fault("%s is required", required.name)
		}
	}
	for _, bounded := range []struct {
		name            string
		value, from, to int64
	}{
		{"StepWorkers", int64(o.StepWorkers), 0, 1024},
		{"LogReaders", int64(o.LogReaders), 0, 256},
		{"ApplyWorkers", int64(o.ApplyWorkers), 0, 1024},
		{"MaxApplyWorkers", int64(o.MaxApplyWorkers), 0, 4096},
		{"SnapshotWorkers", int64(o.SnapshotWorkers), 0, 1024},
		{"RecoverWorkers", int64(o.RecoverWorkers), 0, 1024},
		{"StreamWorkers", int64(o.StreamWorkers), 0, 1024},
		{"SnapshotSendBytesPerSecond", o.SnapshotSendBytesPerSecond, 0, 1 << 50},
		{"SnapshotStreamBytesPerSecond", o.SnapshotStreamBytesPerSecond, 0, 1 << 50},
		{"SnapshotChunkBytes", int64(o.SnapshotChunkBytes), 0, raftpb.MaxPayloadLength},
		{"SnapshotWindowBytes", int64(o.SnapshotWindowBytes), 0, 1 << 30},
		{"MaxCommandBytes", int64(o.MaxCommandBytes), 0, maxCommandBytes},
		{"MaxBatchBytes", int64(o.MaxBatchBytes), 0, maxCommandBytes},
		{"MaxOpenBytes", int64(o.MaxOpenBytes), 0, 1 << 32},
		{"MaxOpenReads", int64(o.MaxOpenReads), 0, 1 << 24},
		{"MaxQueueDelay", int64(o.MaxQueueDelay), 0, int64(time.Hour)},
		{"RequestTimeout", int64(o.RequestTimeout), 0, int64(24 * time.Hour)},
		{"MaxWriteBytes", o.MaxWriteBytes, 0, 512 << 20},
		{"MaxStall", int64(o.MaxStall), 0, int64(time.Hour)},
		{"MaxStopWait", int64(o.MaxStopWait), 0, int64(time.Hour)},
		{"PromiseInterval", int64(o.PromiseInterval), 0, int64(time.Second)},
		{"MaxInboxMessages", int64(o.MaxInboxMessages), 0, 1 << 30},
		{"MaxEvents", int64(o.MaxEvents), 0, 1 << 24},
	} {
		if bounded.value < bounded.from || bounded.value > bounded.to {
			fault("%s is %d, accepted is 0 (default) to %d", bounded.name, bounded.value, bounded.to)
		}
	}
	if o.SnapshotWindowBytes != 0 && o.SnapshotWindowBytes < 2*max(o.SnapshotChunkBytes, 1) {
		fault("SnapshotWindowBytes is %d, less than two chunks of %d", o.SnapshotWindowBytes, o.SnapshotChunkBytes)
	}
	if o.SnapshotShare < 0 || o.SnapshotShare > 1 {
		fault("SnapshotShare is %g, accepted is 0 (default) to 1", o.SnapshotShare)
	}
	if faults == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalidOptions, faults)
}

// ReplicaOptions configure one replica.
type ReplicaOptions struct {
	ShardID   uint64
	ReplicaID uint64
	// Members are the shard's first members, replica IDs and addresses, the same on every one of them. Ignored when
	// the host already has state of the replica. Empty if Join.
	Members map[uint64]string
	// Kinds and Priorities are those of Members that are no voters, or not of the usual priority.
	Kinds      map[uint64]raftpb.MemberKind
	Priorities map[uint64]raftpb.Priority
	// Join starts a replica that waits for an existing shard's leader.
	Join bool
	// SkipBootstrapCheck is the operator's override of R16: an empty first member votes without having heard that all the
	// others are empty too.
	SkipBootstrapCheck bool
	// Snapshots says when snapshots are taken, and what is kept.
	Snapshots SnapshotPolicy
	// Audit is how long a command is in the state before the replicas' states are compared, if the state machine is a rsm.Checksummer; 0 compares
	// none. A replica that differs from a majority is quarantined with rsm.ErrDiverged.
	Audit time.Duration
	// Raft holds timeouts and limits; identities, session and seed are filled in by the engine.
	Raft raft.Options
}
