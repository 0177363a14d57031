package nodehost

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// Defaults of Config, and what speaks for them.
const (
	// DefaultDeployment names the deployment of hosts that were given no name.
	DefaultDeployment = "flotilla"
	// DefaultElectionTimeout is far above a round trip between continents and a disk's usual stall, and still short enough
	// that a failover is over in two to three seconds.
	DefaultElectionTimeout = time.Second
	// DefaultHeartbeatFraction of the election timeout is the heartbeat interval: nine may be lost in a row before a
	// follower campaigns.
	DefaultHeartbeatFraction = 10
	// DefaultRequestTimeout outlasts a failover of the default election timeout several times.
	DefaultRequestTimeout = 10 * time.Second
	// DefaultMaxCommandBytes is 8 MiB: larger values belong beside the log, not in it.
	DefaultMaxCommandBytes = 8 << 20
	// DefaultMaxBatchBytes is 1 MiB: above it, writes and sends gain nothing more from being joined.
	DefaultMaxBatchBytes = 1 << 20
	// DefaultCacheBytes is 256 MiB: some seconds of a busy host's log, so that followers are served from memory.
	DefaultCacheBytes = logdb.DefaultCacheBytes
	// MinDiskReserveBytes is the least default of Config.DiskReserveBytes: 256 MiB.
	MinDiskReserveBytes = 256 << 20
)

// Config configures a NodeHost. Dir and Address are required; the zero value of every other field means its default.
type Config struct {
	// Dir is the host's data directory. It is made if it does not exist and belongs to one NodeHost at a time.
	// Required; nothing is ever read from the working directory by itself.
	Dir string
	// Address is where other hosts reach this one, "host:port", IPv6 in brackets. Memberships carry this very string, and it is
	// stored with the data: a directory does not move to another address unnoticed. Required.
	Address string
	// ListenAddress is where to listen, if not at Address: behind an address translation, or on all interfaces.
	ListenAddress string
	// Deployment names the set of hosts that belong together; those of different ones refuse each other. It is stored with
	// the data. Default DefaultDeployment.
	Deployment string
	// TLS, if not nil, is used for both directions and always mutual. Default: plain TCP.
	TLS *tls.Config
	// FS is the file system for everything that the host stores. Default: the operating system's.
	FS vfs.FS
	// Logger takes what an operator should know. Nothing is logged per request. Default: discards.
	Logger *slog.Logger
	// Events are the callbacks for what happens on this host.
	Events Events

	// RequestTimeout ends every request that is still under way: no request waits for ever, with or without a quorum.
	// A context may end the caller's waiting earlier. Default DefaultRequestTimeout, at most 24 h.
	RequestTimeout time.Duration
	// ElectionTimeout is the base of the randomized timeout after which a follower that hears nothing campaigns; each is
	// drawn from [1, 2) times it. Default DefaultElectionTimeout.
	ElectionTimeout time.Duration
	// HeartbeatInterval is how often a leader without traffic is heard. Default ElectionTimeout / DefaultHeartbeatFraction,
	// at most half of ElectionTimeout.
	HeartbeatInterval time.Duration

	// MaxCommandBytes bounds one command. Default DefaultMaxCommandBytes, at most 256 MiB. The same on all hosts.
	MaxCommandBytes int
	// MaxBatchBytes is the size at which a batch takes no further command. Default DefaultMaxBatchBytes, at most 256 MiB.
	MaxBatchBytes int
	// CacheBytes is the budget of the host-wide cache of recent log. Default DefaultCacheBytes.
	CacheBytes int64
	// DiskReserveBytes is the free space below which proposals are refused with ErrDiskFull, so that what is left serves
	// votes and repairs (rule R10). Default: the larger of MinDiskReserveBytes and twice Tuning.MaxWriteBytes.
	// A negative number turns the watch off.
	DiskReserveBytes int64

	// Clock is read by every worker for whatever is timed. Default: the monotonic clock of the system; from the first replica with LeaseRead
	// or the first StaleRead with a bound on one that goes on while the host is suspended, where there is one (Linux).
	Clock engine.Clock
	// LogDB opens the log store. Default: SegmentedLog with its own defaults; PebbleLog makes another. A data directory stays with the store that
	// it was begun with: another one is refused with ErrOtherLogStore.
	LogDB func(LogDBContext) (logdb.LogDB, error)
	// Transport makes the transport. Default: TCP.
	Transport func(TransportContext) (transport.Transport, error)
	// Tuning holds what few will ever change.
	Tuning Tuning
}

// Tuning holds limits of the engine. Zero means the default, which is good for one to a hundred thousand shards.
type Tuning struct {
	// StepWorkers run the protocol cores. Default max(1, GOMAXPROCS/2): the rest is for log, transport and state machines.
	StepWorkers int
	// LogReaders read old log, for followers and state machines that are behind. Default 4.
	LogReaders int
	// ApplyWorkers run the state machines, at first; up to MaxApplyWorkers are added when all are held up inside slow ones.
	// Defaults max(2, GOMAXPROCS/2) and 64.
	ApplyWorkers, MaxApplyWorkers int
	// SnapshotWorkers is how many snapshots are taken, and how many state machines on disk sync, at the same time; RecoverWorkers how many
	// recover or are opened. One that does not return keeps its place. Defaults 2 and max(2, GOMAXPROCS/2).
	SnapshotWorkers, RecoverWorkers int
	// SnapshotShare is the share of a worker's time, above 0 and at most 1, that the snapshot of a state machine takes which goes on with Updates
	// meanwhile. Default 0.1: the shard, and its neighbours, come first. With 1 a snapshot is taken as fast as disk and processor allow.
	SnapshotShare float64
	// StreamWorkers is how many state machines on disk are sent to other hosts at the same time; others wait. Default 4.
	StreamWorkers int
	// SnapshotSendBytesPerSecond bounds what this host sends of snapshots, all together; SnapshotStreamBytesPerSecond what it sends of one.
	// Default 0: no limit but what receivers take.
	SnapshotSendBytesPerSecond, SnapshotStreamBytesPerSecond int64
	// MaxOpenBytes bounds the commands of one shard that wait to be taken. Default 8 MiB.
	MaxOpenBytes int
	// MaxOpenReads bounds the reads of one shard that wait to be taken. Default 65,536.
	MaxOpenReads int
	// MaxQueueDelay is how long commands of a shard may wait behind uncommitted ones before ErrBusy. Default 200 ms.
	MaxQueueDelay time.Duration
	// MaxWriteBytes is the host's budget for updates on their way to the disk. Default 64 MiB.
	MaxWriteBytes int64
	// MaxStall is how long one write may take before the host gives up its leaderships. Default 10 s.
	MaxStall time.Duration
	// MaxStopWait is how long stopping a replica, and Close, wait for a state machine that does not return and for writes that do not
	// end; then they say ErrStuck. Default 10 s.
	MaxStopWait time.Duration
	// PromiseInterval is how late promises are recorded outside of the log store. Default 500 ms, at most 1 s.
	PromiseInterval time.Duration
	// MaxEvents bounds the events that wait for a callback; more are dropped and counted. Default 4,096.
	MaxEvents int
	// MaxMessageBytes bounds the log in one message to a follower. Default 1 MiB.
	MaxMessageBytes int
	// MaxInflightBytes and MaxInflightMessages bound what is sent to one follower of one shard and not yet answered.
	// Defaults 16 MiB and 256.
	MaxInflightBytes, MaxInflightMessages int
	// MaxUncommittedBytes bounds a leader's uncommitted log per shard. Default 64 MiB.
	MaxUncommittedBytes int
	// MaxBacklogBytes bounds what is committed and not yet applied, per shard: a leader answers ErrBusy while its own state machine, or
	// those of a majority of the voters, have more than that to do, and accepts again by itself when they have got on. One
	// slow or stopped follower never brings that about. Default 64 MiB.
	MaxBacklogBytes int
}

// LogDBContext is what a log store is opened with.
type LogDBContext struct {
	Dir    string // exists, and is the store's alone
	FS     vfs.FS
	Logger *slog.Logger
	HostID uint64 // of the host whose log it is
}

// TransportContext is what a transport is made with.
type TransportContext struct {
	Identity      transport.HostIdentity
	ListenAddress string
	TLS           *tls.Config
	Logger        *slog.Logger
	// MaxFrameBytes is the size that a frame has to be allowed, so that the largest command fits.
	MaxFrameBytes int
	// Seed is random, for whatever the transport has to draw.
	Seed uint64
}

// ReplicaConfig configures one replica.
type ReplicaConfig struct {
	// ShardID names the shard, ReplicaID this host's member of it; both are 1 or above.
	ShardID, ReplicaID uint64
	// Members are the shard's first members, replica IDs and addresses, the same on every one of them; this host's
	// entry has Config.Address. Ignored once the host has state of the replica. Empty if Join. A host that lost its data must not name
	// itself here as the only one again after the shard has grown: it would begin another shard. It is to Join instead.
	Members map[uint64]string
	// Learners and Witnesses are those of Members that are no voters; at least one voter is left. The same on every host.
	Learners, Witnesses []uint64
	// Priorities of Members as leaders; one without an entry has raftpb.PriorityNormal. The same on every host.
	Priorities map[uint64]raftpb.Priority
	// Join starts a replica that is not a first member: it is passive until an existing shard's leader calls on it.
	Join bool
	// Witness, together with Join, says that it joins as a witness: it votes, holds no data, and serves nothing. The same as what the
	// membership change says that adds it. First members that are witnesses are named in Witnesses instead.
	Witness bool
	// MaxSessions is how many client sessions the shard is to hold when one is opened on this host: those that were not used for longest are
	// evicted first. The bound is in the command that opens a session, so hosts need not agree; the same on all is simplest.
	// A session costs some hundred bytes and the responses of its last calls. Default DefaultMaxSessions, at most rsm.MaxSessions, 1,048,576.
	MaxSessions int
	// DisableHealing turns healing off (rule R15): by default a replica that lost what it had promised, with its disk or a
	// part of it, asks to be healed, and a leader makes it a learner that is promoted once it is caught up. Without it, such a
	// replica takes no part until it is removed and added again.
	DisableHealing bool
	// SkipBootstrapCheck is the operator's override of rule R16: this first member may elect a leader without having heard
	// from all others that they are empty too. Wrong, it can lose what the others hold.
	SkipBootstrapCheck bool
	// ElectionTimeout and HeartbeatInterval default to those of the host.
	ElectionTimeout, HeartbeatInterval time.Duration
	// LeaseRead lets this replica answer Read without a round of messages while it leads and a quorum of the voters has promised to elect
	// nobody else; as a follower it makes that promise. It is for all members of a shard or none: one without it promises nothing. It
	// rests on the clocks of the hosts, see MaxClockDrift, and docs/guarantees.md. A replica with it that is started again votes
	// for nobody for an election timeout; do not lower ElectionTimeout, or turn LeaseRead off, and start it again within the old one:
	// the replica would not know what it may have promised.
	LeaseRead bool
	// Audit is how long a command is in the state before the replicas' states are compared: at most that long, and a round through the log,
	// after a replica has gone apart from a majority of the others it is quarantined, with ErrDiverged (Events.ReplicaQuarantined). It takes one entry, and one
	// more from each replica, for each audit; a shard at rest makes none. It needs a state machine that is a rsm.Checksummer, and is for all members of a shard. Default 0: no
	// audits. At least 100 ms.
	Audit time.Duration
	// Snapshots says when snapshots are taken of state machines that can be saved, and how much log is kept. By default they are taken.
	Snapshots SnapshotPolicy
	// MaxClockDrift is how far the clocks of two hosts may drift apart in a second. Default 100 ms, at most 500 ms. If a host's clock
	// runs wilder than that, a read under a lease may miss what was acknowledged; it is noticed (Events.ClockDrift), and reads
	// take a round again.
	MaxClockDrift time.Duration
}
