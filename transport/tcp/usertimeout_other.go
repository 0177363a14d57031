//go:build !linux

package tcp

import (
	"net"
	"time"
)

// setUserTimeout has no portable form. Elsewhere a peer that vanished without a word is noticed when the socket's buffer is
// full and a write meets its deadline.
func setUserTimeout(*net.TCPConn, time.Duration) {}
