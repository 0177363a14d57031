//go:build !linux

package limit

import "github.com/cockroachdb/pebble/v2/vfs"

// setDirect makes writes to a file pass the page cache. It is only known on Linux.
func setDirect(vfs.File) {}
