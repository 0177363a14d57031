//go:build !linux

package benchmark

import (
	"os"
	"time"
)

// syncData makes what was written to the file durable.
func syncData(file *os.File) error { return file.Sync() }

// inMemory says whether a directory lies on a file system that lives in memory. It is only known on Linux.
func inMemory(string) bool { return false }

// threadTime is the CPU time that the calling thread has used. It is only known on Linux.
func threadTime() time.Duration { return 0 }

// flushesOf returns what reads the number of cache flushes of a device. It is only known on Linux.
func flushesOf(string) func() uint64 { return func() uint64 { return 0 } }
