package tcp

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/internal/loopback"
	"github.com/flotilla-raft/flotilla/transport"
	"github.com/flotilla-raft/flotilla/transport/transporttest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// loopbackNetwork is a network of hosts on one loopback address.
type loopbackNetwork struct {
	host string
	tls  *tls.Config
}

// ownHost is the loopback address that is this process's own.
func ownHost(t *testing.T) string {
	t.Helper()
	addresses, err := loopback.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	host, _, err := net.SplitHostPort(addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	return host
}

func (l loopbackNetwork) Address(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(l.host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// options returns short queues and pauses for tests.
func (l loopbackNetwork) options(identity transport.HostIdentity) Options {
	return Options{
		ListenAddress: identity.Address, Identity: identity, TLS: l.tls,
		BulkQueueBytes: 1 << 20, SnapshotQueueBytes: 1 << 20, ControlQueueBytes: 256 << 10,
		ReconnectMin: time.Millisecond, ReconnectMax: 10 * time.Millisecond,
		DialTimeout: time.Minute, ControlWriteTimeout: time.Minute, // many connections at once take their time on a busy machine
	}
}

func (l loopbackNetwork) Host(t *testing.T, identity transport.HostIdentity) transport.Transport {
	t.Helper()
	transport, err := New(l.options(identity))
	if err != nil {
		t.Fatal(err)
	}
	return transport
}

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Network { return loopbackNetwork{host: ownHost(t)} })
}
