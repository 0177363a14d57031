// Package loopback finds addresses for hosts that run on one machine, for tests and benchmarks.
//
// A host is told its address before it listens there, and after a restart listens there again. So a port is looked for, given back, and
// stands free for a while. On 127.0.0.1 another process takes it now and then: it looks for a port in the same way, or is given it for a
// connection that it makes, in which case it can even be connected with itself. Here each process looks on an address of the loopback
// network that is its own by its process ID, where neither happens.
package loopback

import (
	"net"
	"os"
)

// Addresses returns n different addresses, IP and port, that nobody listens on. Where the loopback network is but 127.0.0.1, as it is unless set up
// otherwise on systems other than Linux, they are on that one.
func Addresses(n int) (addresses []string, err error) {
	for range n {
		listener, err := listen()
		if err != nil {
			return nil, err
		}
		defer listener.Close() // not before the last is found, so that no port comes twice
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}

func listen() (net.Listener, error) {
	if listener, err := net.Listen("tcp", net.JoinHostPort(own(os.Getpid()).String(), "0")); err == nil {
		return listener, nil
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

// own is the address of a process, from 127.64.0.0 to 127.127.255.255. A process ID has 22 bits.
func own(process int) net.IP {
	return net.IPv4(127, byte(64|process>>16&63), byte(process>>8), byte(process))
}
