//go:build !linux

package benchmark

import "os"

// syncData makes what was written to the file durable.
func syncData(file *os.File) error { return file.Sync() }

// inMemory says whether a directory lies on a file system that lives in memory. It is only known on Linux.
func inMemory(string) bool { return false }
