//go:build !linux

package nodehost

import "github.com/flotilla-raft/flotilla/engine"

// newClock returns the default of Config.Clock. Whether the runtime's monotonic clock goes on while the host is suspended depends on the
// system; where it does not, leases are not safe on a host that may be suspended.
func newClock() engine.Clock { return engine.NewSystemClock() }
