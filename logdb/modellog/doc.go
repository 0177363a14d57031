// Package modellog is a LogDB without a disk: a plain value that completes writes when it is told to. The test that runs
// hosts in one goroutine and the simulator use it, and the conformance suite compares other log stores with it.
//
// # The life of a write
//
//	Commit ──► pending ──Complete──► visible to Load, Read and List; done(nil)
//	              │                     │
//	              │                     └─► durable: at once if anything in the groups had MustSync, together with
//	              │                         everything before it; otherwise with the next such write
//	              ├──Fail───► done(error); whether it is on the disk is unknown
//	              └──Crash──► done is never called
//
// A store made with Automatic completes each write within Commit.
//
// Crash returns the store as it would be found after a power cut: everything durable, and of the rest, in the order
// of the Commits, as many whole writes as the caller says.
//
// # What it checks
//
// Writes are checked against the contract as they become visible, by invariants that end the test: batches follow the log's end,
// TruncateFrom is the first index of a stored batch, and compaction never goes back. A store on a disk cannot check
// this without reading.
//
// # Ownership
//
// Nothing of a save is retained but the bytes of its batches, which are copied: a batch that changed after it was
// handed over must not be able to change the log. No goroutines, no clock, no random choice; the maps are never iterated
// but for List, which sorts.
package modellog
