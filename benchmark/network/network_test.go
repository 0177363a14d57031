package network

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestRelayDelaysBothWays echoes through a relay: no byte is lost or moved, and none comes back before twice the delay.
func TestRelayDelaysBothWays(t *testing.T) {
	const delay = 20 * time.Millisecond
	addresses, err := NewAddresses(1, delay)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", addresses.Listen(0))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := listener.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn)
	}()

	conn, err := net.Dial("tcp", addresses.Public(0))
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	begin := time.Now()
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	first := [1]byte{}
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 2*delay {
		t.Errorf("the first byte came back after %v, before two delays of %v", took, delay)
	}
	rest, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if got := append(first[:], rest...); !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back, not the %d that were sent", len(got), len(sent))
	}
	<-ended
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
	if err := addresses.Close(); err != nil {
		t.Error(err)
	}
}

func TestWithoutDelayThereIsNoRelay(t *testing.T) {
	addresses, err := NewAddresses(3, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for host := range 3 {
		if addresses.Public(host) != addresses.Listen(host) {
			t.Errorf("host %d is reached at %s and listens on %s", host, addresses.Public(host), addresses.Listen(host))
		}
		seen[addresses.Listen(host)] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d different addresses for 3 hosts", len(seen))
	}
	if err := addresses.Close(); err != nil {
		t.Error(err)
	}
}

// TestCloseEndsConnections closes a relay whose ends are both idle.
func TestCloseEndsConnections(t *testing.T) {
	addresses, err := NewAddresses(1, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", addresses.Listen(0))
	if err != nil {
		t.Fatal(err)
	}
	near, err := net.Dial("tcp", addresses.Public(0))
	if err != nil {
		t.Fatal(err)
	}
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := addresses.Close(); err != nil {
		t.Error(err)
	}
	if _, err := near.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
	for _, c := range []io.Closer{near, far, listener} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
