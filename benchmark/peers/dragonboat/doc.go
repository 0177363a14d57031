// Package dragonboat puts github.com/lni/dragonboat/v4 behind the benchmark harness: NodeHosts in this process, each with a
// directory and a loopback address of its own, regular in-memory state machines, no-op sessions.
//
// There are three engines, for three ways to configure it: its own defaults; one execution shard and one Pebble instance a host,
// which is the best found on two cores; and its tan log store. In all of them CheckQuorum and PreVote are on and nothing is
// compressed. Election and heartbeat timeouts are those that Flotilla has by default; above 256 shards elections take twice as
// long and heartbeats are four times as far apart, which is in this peer's favour.
//
// Tan preallocates a log file of 64 MiB for every replica. Where the disk has no room for them, its start is refused with what it would take,
// instead of filling the disk and ending the process.
//
// A shard's requests are in one window, first in, first out: one goroutine waits for the oldest, releases it and hands its outcome
// to the harness, which issues the next from there. That is the cheapest client that the library's API allows, since
// each of its requests has a channel of its own.
package dragonboat
