//go:build !linux

package limit

import "github.com/cockroachdb/pebble/v2/vfs"

// allocate gives a new file its space where the system can.
func allocate(file vfs.File, size int64) error { return file.Preallocate(0, size) }
