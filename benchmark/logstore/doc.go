// Package logstore measures log stores alone, without consensus: how fast they make small writes of many shards durable, and how fast they
// open what was written.
//
// # Appending
//
// A fixed number of appenders, one shard each, append a batch and wait until it is durable. What waits while the store is busy
// travels in the next group commit, as the engine's log writer does it; an appender that finds the writer idle commits
// itself, without a hand-over.
//
//	appender ─ Group.Save ─► gatherer ─ Commit(groups) ─► LogDB ─ done ─► gatherer ─► the appenders of that commit
//
// Beside each store runs the limit: one goroutine that writes the same number of bytes as the store gathered for one sync on average, and syncs, by
// the best of {append, fallocate, overwrite} × {buffered, O_DIRECT}, in as much space as the store's files take. Both take turns, several in a second,
// since a device may change its pace by half within one; while one has the disk the other rests. Before that the store is brought to a
// steady state, with files that are used again, and all techniques are tried. The ratio of both is what counts; absolute figures say
// more about the machine.
//
// # Space
//
// Many shards append small batches all at once, and compact as they go, with much in flight and with a tenth of it. What the process hands to the
// block layer meanwhile, up to when the store has come to rest behind a last compaction of all shards, is divided by the bytes of the batches;
// what the files are then, by those of the batches that are left.
//
// # Opening
//
// A child process fills a store with many shards and ends, closed cleanly or by SIGKILL; the files are dropped from the page
// cache; then the store is opened, and after that every replica loaded, which reads and checks the whole log.
//
// What a figure is worth, and how requirements are held against it, is said in package benchmark.
package logstore
