package benchmark

import (
	"context"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrBusy is returned, wrapped or bare, by a Caller whose engine refuses a request because it is overloaded. The command was
// surely not applied. The harness counts it as backpressure, not as an error, and tries again after a pause.
var ErrBusy = errors.New("benchmark: engine is busy")

// Engine is one way to replicate commands that the harness can measure.
type Engine struct {
	// Name selects the engine on the command line and stands in every result.
	Name string
	// LogDBs and Transports are the values of --logdb and --transport that the engine obeys. An engine with an empty list has
	// only one way of doing it: the flag is ignored and the result says "none" for the log store.
	LogDBs, Transports []string
	// Reads says whether the engine serves reads; one that does not is refused together with a read ratio above 0.
	Reads bool
	// Leases says whether the engine can answer reads under a lease; Snapshots, whether it takes snapshots and compacts its log by
	// itself. One that does not is refused together with what asks for it.
	Leases, Snapshots bool
	// SyncsUncounted says that the engine goes round the file system that it is given, so that the syncs counted are not all; they
	// are reported as 0, and the device's flushes tell how many there were.
	SyncsUncounted bool
	// Start brings up a cluster whose shards all have a leader. It honours the context.
	Start func(context.Context, ClusterOptions) (Cluster, error)
}

// ClusterOptions tell an engine what to start.
type ClusterOptions struct {
	// Hosts and Shards are counts; both are named from 0 on. Every shard has a replica on every host.
	Hosts, Shards int
	// Directory is an existing, empty directory for the data of all hosts.
	Directory string
	// FS is the file system to use for everything that is written. It counts syncs, so an engine that goes round it reports
	// too few of them.
	FS vfs.FS
	// LogDB and Transport are one of the engine's own LogDBs and Transports, or anything if it has none.
	LogDB, Transport string
	// Delay is the time that a message takes from one host to another, in either direction, made by package network.
	Delay time.Duration
	// SnapshotEntries is after how many entries of a shard a snapshot is taken and the log behind it compacted; never if 0.
	SnapshotEntries int
	// LeaseRead says that reads are answered under a lease, without a round of messages.
	LeaseRead bool
	// CountSync counts a sync that an engine makes without FS. It may be called from any goroutine.
	CountSync func()
	// Machine returns the state machine of a replica; it is called once for each. The engine applies every committed command to
	// it in log order, or, if it applies nothing while it is measured, does so in Settle.
	Machine func(host, shard int) *Machine
}

// Cluster is a running engine: all its hosts in this process. Its methods may be called from any goroutine.
type Cluster interface {
	// BalanceLeaders spreads the leaders evenly over the hosts and returns once every shard has a leader where it belongs.
	BalanceLeaders(context.Context) error
	// Leader returns the host that leads the shard, or the best guess.
	Leader(shard int) int
	// Caller prepares requests of one client to a shard through one host. It is made once for each request in flight, not for each
	// request, so that an engine whose callbacks have another shape wraps done here and allocates nothing later.
	Caller(host, shard int, done func(Outcome)) Caller
	// LeaderChanges counts changes of leader over all shards since the start. The harness looks at differences.
	LeaderChanges() uint64
	// Settle is called once when no request is pending any more, before the machines are compared.
	Settle(context.Context) error
	// Close stops the cluster, frees everything and leaves its files.
	Close() error
}

// Caller issues the requests of one client, one at a time: the next only after done, or the return of a blocking call. Asynchronous
// and blocking calls are not mixed.
type Caller interface {
	// ProposeAsync proposes a command, which the engine copies before it returns. After nil the caller's done is called
	// exactly once, after ProposeAsync has returned or on another goroutine, never from within it; done is short and may call
	// ProposeAsync or ReadAsync again. After an error done is not called and the command was surely not applied.
	ProposeAsync(command []byte) error
	// ReadAsync asks the state machine linearizably. After (false, nil) done is called once as for ProposeAsync, and the query
	// holds its answer by then and is not touched by the engine afterwards. After (true, nil) the query was answered at once and done is not called.
	ReadAsync(query *Query) (answered bool, err error)
	// Propose proposes a command and returns once its outcome is known.
	Propose(ctx context.Context, command []byte) Outcome
	// Read asks the state machine linearizably and returns once the query is answered.
	Read(ctx context.Context, query *Query) Outcome
}

// Outcome is how a request ended.
type Outcome struct {
	// Err is nil if the command was applied on the host that was called, or the query was answered.
	Err error
	// MayBeApplied says, with an Err, that the command's fate is unknown. If false it was surely not applied.
	MayBeApplied bool
}
