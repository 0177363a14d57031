package raft

import "time"

// Instant is a point of the host's monotonic clock in nanoseconds. The core never reads a clock: every call that needs
// the time is given it.
type Instant int64

// Never is an Instant that does not come.
const Never Instant = 1<<63 - 1

// Options configure one core. The zero value of each field but the identities is useful.
type Options struct {
	ShardID   uint64
	ReplicaID uint64
	// Session is drawn at random for every start of the replica and never stored; not 0.
	Session uint64
	// Seed drives the election timeouts. Two replicas of a shard have different seeds.
	Seed uint64
	// Address is where this replica's host listens; it goes into the membership that a first leader records.
	Address string

	// ElectionTimeout is the base of the randomized timeout: each is drawn from [1, 2) times it. Default 1 s.
	ElectionTimeout time.Duration
	// HeartbeatInterval is how often a leader without traffic is heard. Heartbeats are due at multiples of it on the
	// host's clock, so that those of all shards travel in one frame. Default ElectionTimeout / 10.
	HeartbeatInterval time.Duration
	// DisablePreVote and DisableCheckQuorum turn off what is on by default (thesis 9.6, 6.2).
	DisablePreVote     bool
	DisableCheckQuorum bool

	// Witness says that the replica is to be a witness: it takes headers before it knows a membership, and never campaigns, leads,
	// applies or serves (R19).
	Witness bool
	// NextIncarnation is what the replica is to be if it turns out that it lost what it had promised (R15): random, drawn anew at
	// every start. 0: it cannot be healed.
	NextIncarnation uint64
	// DisableHealing turns off that a replica which lost what it had promised asks to be healed, and that a leader heals
	// others. Such a replica abstains until it is removed and added again.
	DisableHealing bool

	// Applied is the last entry whose effect the state machine holds at the start. Less than what is removed from the log is an error,
	// unless Stored.Installing says that the machine is yet to be recovered: then SnapshotInstalled is to be called. More than
	// the log holds shows that the log store lost something, and the replica abstains. 0: a machine that begins anew.
	Applied uint64
	// DisableFollowerSnapshots lets a leader name only itself as the source of snapshots. Otherwise it prefers a follower that
	// answers, holds state and has what the snapshot must reach.
	DisableFollowerSnapshots bool

	// LeaseRead lets this replica answer linearizable reads without a round of heartbeats while it leads and a quorum of the voters
	// has promised to elect nobody else (lease.go); as a follower it makes that promise. It rests on clocks: those of two
	// hosts must not drift apart by more than MaxClockDrift, and must go on while a host is suspended. Members
	// without it promise nothing. A replica with it that is started again votes for nobody for an election timeout;
	// one that is started without it has to have been down for as long.
	LeaseRead bool
	// MaxClockDrift is how far the clocks of two hosts may drift apart in a second. Default 100 ms: a lease is a tenth
	// shorter, which costs nothing, since heartbeats renew it ten times meanwhile; and it covers what time daemons do, that let
	// a clock run up to a twelfth faster or slower to correct it (crystals differ by less than 0.02 %). Above it is noticed
	// (EventClockDrift), and the voter does not count for leases.
	MaxClockDrift time.Duration

	// MaxMessageBytes bounds the batches in one Replicate message; one larger batch travels alone. Default 1 MiB.
	MaxMessageBytes int
	// MaxInflightBytes and MaxInflightMessages bound what is sent to one follower and not yet answered.
	// Default 16 MiB and 256.
	MaxInflightBytes    int
	MaxInflightMessages int
	// MaxUncommittedBytes bounds the leader's uncommitted tail; above it proposals are refused as busy.
	// Default 64 MiB.
	MaxUncommittedBytes int
	// MaxBacklogBytes bounds what is committed and not applied: a leader refuses proposals as busy while its own state machine, or
	// those of a majority of the voters, have more than that to do. One slow or stopped follower never brings that about.
	// What a replica replays after a restart counts only from when it is read. Default 64 MiB.
	MaxBacklogBytes int
	// MaxPinnedBytes bounds the saved but unapplied batches that are held in memory for a slow state machine; what is
	// beyond is read back from the cache or the log. Default 4 MiB.
	MaxPinnedBytes int
	// MaxApplyBytes bounds what Drain hands over for apply at once. Default 1 MiB, at least one batch.
	MaxApplyBytes int
}
