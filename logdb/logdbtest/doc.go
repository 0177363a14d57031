// Package logdbtest is the conformance suite for log stores: what any implementation of logdb.LogDB must pass.
//
//	func TestConformance(t *testing.T) {
//		logdbtest.Run(t, func(t *testing.T) logdbtest.Place {
//			dir := t.TempDir()
//			return logdbtest.Place{Open: func() (logdb.LogDB, error) { return mystore.Open(dir) }}
//		})
//	}
//
// Run has one case per clause of the contract; each says in its comment which clause it is and what goes wrong in an engine
// whose store breaks it. The last case compares long random runs with package modellog.
//
// RunCrash is for stores that reach the disk through Pebble's vfs.FS. It cuts the power around every sync that the
// store makes, on a file system that keeps an arbitrary part of what was not synced, opens what is left and compares. The
// same run with syncs that do nothing must fail, or else it would prove nothing.
package logdbtest
