// Package snapshots measures what a snapshot costs a shard under load, and how long a shard needs from the start of its host to its first
// answer.
//
// # Restart
//
// One host with one shard takes a snapshot, then applies so many commands, and is closed. Measured is the time from New to the answer
// of the first linearizable read: opening the directory and the log, recovering, leading, replaying.
//
// # Snapshot
//
// All hosts are in this process. One shard has a state of so many MiB on each of them, in pages that a prepared view shares with the state until one
// of them is written to. Closed-loop clients call the leader:
//
//	warm-up │ before: the rate without a snapshot, for --duration │ snapshot: until the leader has taken one by hand
//
// # Stream
//
// A shard of one replica has a state of so many MiB in the ready-made state machines, rsm/kv and rsm/pebblekv in turn, and its log begins behind a snapshot. A replica on a fresh host is added: its state is streamed to it.
// Measured is the time from the offer until the whole is durable there, in memory and on disk, against what the disk writes and what a loopback
// connection carries in the same run; then the latency of writes to 47 shards that the two hosts share, before and while a stream runs at half that rate.
//
// # What the figures of a snapshot mean
//
// The pause is how long the state machine is kept from Updates: the time that Prepare takes. The longest gap is the longest time without an
// acknowledged write, in either phase, which holds everything else too: syncs, other work of the machine, the collector.
package snapshots
