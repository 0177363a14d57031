// Package hashicorp puts github.com/hashicorp/raft with github.com/hashicorp/raft-wal behind the benchmark harness: one group (the
// library has no more), three hosts in this process over TCP loopback, MaxAppendEntries 1024 and BatchApplyCh, which is the
// best found, a batching state machine, and a cache of recent log. Election and heartbeat timeouts are those that Flotilla has by default.
//
// Requests are in one window, first in, first out, as in package dragonboat: each has a future of its own, and one goroutine waits
// for the oldest. The library keeps a command that it is given, so each is copied.
package hashicorp
