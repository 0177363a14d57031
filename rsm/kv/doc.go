// Package kv is an ordered key-value store in memory, as a state machine that is saved while it goes on (rsm.Concurrent).
//
//	factory := func(shardID, replicaID uint64) (rsm.StateMachine, error) { return kv.New(), nil }
//	host.StartReplica(ctx, replica, factory)
//
//	result, err := shard.Propose(ctx, kv.Put([]byte("key"), []byte("value")))
//	existed := kv.OutcomeOf(result).Existed
//	answer, err := shard.Read(ctx, kv.Get{Key: "key"})
//	value := answer.(kv.Value)
//
// It is also to be read as an example of a state machine: commands with a codec that is fuzzed, no command that could fail it, a
// snapshot that costs the writers nothing. Package pebblekv takes the same commands and queries and keeps its data on disk.
//
// # Commands
//
// A command is one byte for what is to be done, the length of the key as uvarint, the key, and what Command says. Bytes that are no
// command are answered with Outcome.Refused on every replica and change nothing: an error of Update would take the shard
// out of service, which no client may be able to do.
//
// # The tree
//
// Items lie in a B+tree that is copied on write. A node belongs to the generation in which it was made; Prepare keeps the root and begins a
// generation, which is all that it does. From then on a node of an earlier generation is copied before it is changed, so that the
// view goes on seeing what it saw, without a lock: what it reaches is never written again. What nobody reaches any more is the garbage
// collector's. Nodes are not merged when they become small, only removed when they become empty, which spares deletes most of their work and leaves a
// tree that is searched as fast.
//
// # Who may do what
//
// As package rsm says: Update, Prepare and Recover by one goroutine at a time, Lookups beside each other and never beside those, views
// beside everything. Answers of Lookups alias what is stored and must not be changed; they stay what they are, because values are replaced and never
// overwritten.
package kv
