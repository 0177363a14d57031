//go:build !linux

package seglog

import "github.com/cockroachdb/pebble/v2/vfs"

// setDirect is for Linux alone; elsewhere writes go through the page cache.
func setDirect(vfs.File) bool { return false }
