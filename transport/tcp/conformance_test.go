package tcp

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flotilla-raft/flotilla/transport"
	"github.com/flotilla-raft/flotilla/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopback is a network of hosts on one loopback address.
type loopback struct {
	host string
	tls  *tls.Config
}

func (l loopback) Address(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(l.host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// options returns short queues and pauses for tests.
func (l loopback) options(identity transport.HostIdentity) Options {
	return Options{
		ListenAddress: identity.Address, Identity: identity, TLS: l.tls,
		BulkQueueBytes: 1 << 20, SnapshotQueueBytes: 1 << 20, ControlQueueBytes: 256 << 10,
		ReconnectMin: time.Millisecond, ReconnectMax: 10 * time.Millisecond,
	}
}

func (l loopback) Host(t *testing.T, identity transport.HostIdentity) transport.Transport {
	t.Helper()
	transport, err := New(l.options(identity))
	if err != nil {
		t.Fatal(err)
	}
	return transport
}

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(*testing.T) transporttest.Network { return loopback{host: "127.0.0.1"} })
}
