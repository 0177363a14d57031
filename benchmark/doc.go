// Package benchmark measures engines that replicate many shards, all hosts in one process, and proves that what was measured
// was also right.
//
// # A run
//
// Run starts an Engine, spreads its leaders, keeps a fixed number of requests in flight (a closed loop: each request that ends is
// followed by the next), measures a span after a warm-up, ends the load and checks. It repeats that with new hosts and
// data, engines taking turns, and reports the medians. Every engine gets the same load, machines and file system seam:
//
//	client ─ Caller.ProposeAsync ─► Engine ─ Apply ─► Machine, one for each replica
//	   ▲                              │
//	   └───────── done(Outcome) ──────┘      all files through countfs, which counts the syncs
//
// A client is one request in flight. It is prepared once, calls the host that leads its shard, and issues its next command from the
// callback of the last one; the harness itself allocates nothing per command, reads the clock once, and takes one latency sample.
// With blocking calls a client is a goroutine in Propose instead. A request that was refused is issued again after a pause, by
// another goroutine; its latency counts from the first try. The process's whole consumption is reported, harness included.
//
// With Config.Offered the loop is open: writes are issued at a rate, whatever becomes of those before; what is refused is counted and not
// tried again, and a latency counts from the instant at which the write was due. Goroutines with threads of their own issue
// them, so that their share of the CPU time is known.
//
// With Config.Delay the hosts are apart: package network relays every connection, later, for all engines alike.
//
// # A command
//
//	 0                                8                                payload
//	+--------------------------------+--------------------------------+
//	| client (24 bits) sequence (40) | random bytes                   |     little-endian; the client is the upper part
//	+--------------------------------+--------------------------------+
//
// The random bytes follow from the seed, the shard, the client and the sequence, so a state machine can tell a damaged command
// without having been told.
//
// # The check
//
// A Machine keeps the last applied index, a hash over index and bytes of every command, and for each client which of its
// commands are in. When the load is over, all replicas of a shard must agree on all of it; whatever a client was told is applied must
// be in, once, on every replica; what is missing must have had an unknown outcome. A read must see every write that was
// acknowledged before it began. The harness can be told to lose or double a command, to show that the check notices.
//
// # What a figure is worth
//
// Between the repeats the harness measures yardsticks that are no engine's work: an append and fdatasync, a fixed loop, and the
// machine's steal time. Engines are compared only within one Run, and only if no yardstick moved by more than 15 % between
// them. Requirements (Config.Require) are held against the medians, so a target is a command line and never a timed test.
//
// # Other workloads
//
// Config.Workload names another one on the command line. Package failover has hosts in processes of their own, and closes and kills
// them. Package slowfollower stops a follower under load and lets it catch up.
//
// # Adding an engine
//
// Implement Cluster and Caller, and add the Engine to the list that is given to Run. Package limit is the example, and the measure
// of the others. Engines of other projects are in benchmark/peers, a module of its own.
package benchmark
