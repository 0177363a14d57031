// Package logdb holds the contract for log stores, the host-wide log cache, and the checks that all log stores share.
//
// # The pieces
//
//	package logdb            the contract (LogDB, Group), the Cache, metrics, CheckSave and Loader
//	package logdb/pebblelog  the store on Pebble, the default
//	package plugin/seglog    the store on segment files of its own, one stream for all replicas
//	package logdb/modellog   a store without a disk that completes when told, for simulation and comparison
//	package logdb/logdbtest  the conformance, crash and fault suites that any store has to pass
//
// A host has one store for all its replicas, so that one sync serves them all, and one cache in front of it.
//
// A store may also say where its bytes are (SpaceReporter) and what it does (MetricsReporter).
//
// # The way of a write
//
//	step worker A ─ Group.Save, Save, ... ─┐
//	step worker B ─ Group.Save, Save, ... ─┤
//	                                       ▼
//	              log writer ── Commit(groups, done) ──► store: one write, one sync
//	                                                            │
//	step workers ◄── "saved" ◄────────────────── done(nil) ◄────┘
//
// Encoding and checking happen where the data was made, on the step workers; the log writer hands over what is
// finished, and goes on without waiting. While the disk is busy it gathers the next groups.
//
// # Who owns what, and when
//
//   - A Group belongs to the step worker until it is given to Commit, and to the store from then on.
//   - A Save and all it refers to belong to the caller; Group.Save has copied what it needs when it returns.
//   - What Read returned belongs to the caller for ever. Batches are immutable (R4), so a store may share memory.
//   - What Cache.Get returned may be read for as long as one likes, and never written to.
//
// # What a crash leaves
//
// Commits are atomic and ordered: after a crash the store holds the first n of them, each whole, and n covers
// everything whose done was called with nil and that had MustSync, along with all before it. Commits that were begun and
// not done may be there or not. So the state after a crash is one that the host was in, or was about to be in; nothing in
// between. A failed write is for ever (R9): nothing is known of what is on the disk until the store is opened anew.
//
// # Logs in a store
//
//	          compacted             last
//	              │                  │
//	─ ─ ─┬─────┬──┼──┬──────┬──┬─────┤
//	 ... │     │  ▼  │      │  │     │        batches, without a gap
//	─ ─ ─┴─────┴─────┴──────┴──┴─────┘
//	removed    ▲
//	           the batch that holds index compacted+1 is kept whole
//
// TruncateFrom is always the first index of a stored batch. A conflict inside a batch keeps a piece of it, which the save
// carries as its first batch.
package logdb
