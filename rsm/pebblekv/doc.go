// Package pebblekv is an ordered key-value store on disk, as a state machine that keeps its own data (rsm.SessionKeeper). It takes the
// commands and queries of package kv.
//
//	factory := func(shardID, replicaID uint64) (rsm.StateMachine, error) {
//		return pebblekv.New(pebblekv.Options{Dir: filepath.Join(dir, fmt.Sprint(shardID, "-", replicaID))})
//	}
//
// Each machine is a Pebble of its own, with a memtable, a cache and goroutines: right for tens of shards on a host, not for
// thousands.
//
// # What lies where
//
//	'd' key              value
//	'm'                  version 1, applied index, number of items, sum over the items: 1 + 8 + 8 + 8 bytes, little-endian
//	's' client [series]  what a session delta wrote
//
// An Update is one batch: its data, the sessions' and the applied index are there together after a crash, or not at all.
//
// # No second log
//
// Pebble's write-ahead log is off, for the shard's log is one already: nothing is written twice. A batch is whole in one memtable, and
// memtables reach the disk in order, so that what a crash leaves is the state after some earlier Update, and Open says after which. Sync
// flushes the memtable. The price is that a replay after a crash begins at the last flush.
//
// # Recovery from a snapshot
//
// The items, which come in order, are written straight to tables, beside the store. When all of them are there, and agree with the snapshot's
// end, one change of Pebble's manifest takes the tables in and everything else out. A crash leaves the old state or the
// new one; an input that is damaged leaves the old one. The directory "incoming" holds the tables until then and is removed by Open.
//
// # When the disk fails
//
// The first failed write or sync is a latch, as everywhere in the project: every later Update and Sync returns an error, which quarantines the replica, and
// nothing is written any more. Pebble itself would try a failed flush again, at once and for ever.
package pebblekv
