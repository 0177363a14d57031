// Package slowfollower measures what one follower that hears nothing costs a cluster under load, and how it catches up.
//
// # A run
//
// All hosts are in this process, with real sockets and directories. Every shard is led by one of the hosts but the last. Closed-loop
// clients call the leaders throughout.
//
//		warm-up │ before: all hosts │ stopped: nothing goes to or from the last host │ catch-up, still under load │ end check
//
//	 1. Before: the rate with all hosts.
//	 2. Stopped: every message to and from the last host is taken and thrown away, as if it stood still with its connections
//	    open. The others' rate, refusals and heap count.
//	 3. Catch-up: messages pass again; the time until the last host has applied, in every shard, all that the leaders had applied at
//	    that moment. Until then the load goes on.
//	 4. The load ends, and all replicas of a shard must agree on every command.
//
// The hosts share this machine, so a follower that is stopped also frees what it used; a rate that rises in the second phase says no
// more than that nothing held the leaders back.
package slowfollower
