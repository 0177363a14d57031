// Package countfs wraps a file system and counts the syncs that go through it.
//
// Counting at the seam through which an engine writes makes the figure comparable between engines and free of what the rest of
// the process or machine does. What is counted is the call: Sync and SyncData of files and directories, and SyncTo if it was
// a full one. The wrapper adds one atomic addition per sync, nothing to reads and writes.
package countfs
