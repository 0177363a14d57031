// Package failover measures how long shards take no writes when the host that leads them goes, politely or not.
//
// # A run
//
// Each host is a process of its own, started from the same binary, with real sockets and its own directory; so a host can be killed.
// Every host runs closed-loop clients for every shard, which call the host that they are on.
//
//		parent ── JSON lines on stdin ──► host process: NodeHost, shards, clients, watch
//		       ◄── JSON lines on stdout ──
//
//	 1. All hosts start, leaders are spread evenly, the load warms up.
//	 2. One host is closed. It is started again, and leaders are spread again.
//	 3. Another is killed by SIGKILL, and started again.
//	 4. The load ends, and all replicas of a shard must agree on every command.
//
// # What is measured
//
// For each shard that the lost host led: the time from the call of Close, or the kill, until a surviving host's client has the
// acknowledgement of a write that it made under another leader. For all other shards: the longest time between two acknowledged
// writes, seen by one host's clients, while that went on, beside the longest of any shard in as long a time before, which is what the machine
// makes of it. Times come from the machine's wall clock, which all processes share.
//
// # The floor
//
// Nobody can know that a killed leader is gone before an election timeout has passed. Each surviving replica draws its own, from
// [1, 2) times the base, and counts it from the last that it heard; the first to run out begins the election. So the least possible
// outage of a shard with m surviving voters is distributed as the least of m such draws, counted from the last contact:
//
//	P(outage < base × (1 + x)) = 1 − (1 − x)^m            0 ≤ x < 1
//	median over shards         = base × (2 − (1/2)^(1/m))
//	expected maximum of n      = base × (2 − Γ(1+1/m) Γ(n+1) / Γ(n+1+1/m))
//
// For 200 ms, two survivors and 16 shards that is 259 ms and 357 ms. What lies above it is what the engine adds: noticing late, votes
// that split, disks, and clients that do not find the new leader. A host that is closed hands over first, so it
// can be below the floor. Figures of several repeats are pooled, and the floor is taken for that many shards.
package failover
