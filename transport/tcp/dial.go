package tcp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/flotilla-raft/flotilla/transport"
)

// dial makes the outgoing connection of one lane and passes the handshake on it. The connection is known to the transport, so
// that Close ends it at any point; the caller forgets it.
func (t *Transport) dial(ctx context.Context, p *peer, lane transport.Lane) (net.Conn, transport.HostIdentity, error) {
	ctx, cancel := context.WithTimeout(ctx, t.options.DialTimeout)
	defer cancel()
	conn, err := t.options.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, transport.HostIdentity{}, fmt.Errorf("connecting to %s: %w", p.address, err)
	}
	tuneConnection(conn, t.options.KeepAlive, t.options.writeTimeout(lane))
	if t.options.TLS != nil {
		conn = tls.Client(conn, t.clientTLS(p.address))
	}
	if !t.remember(conn) {
		_ = conn.Close()
		return nil, transport.HostIdentity{}, transport.ErrClosed
	}
	identity, err := t.introduce(ctx, conn, p, lane)
	if err != nil {
		t.forget(conn)
		return nil, transport.HostIdentity{}, fmt.Errorf("handshake with %s: %w", p.address, err)
	}
	return conn, identity, nil
}

func (t *Transport) clientTLS(address string) *tls.Config {
	if t.options.TLS.ServerName != "" {
		return t.options.TLS
	}
	config := t.options.TLS.Clone()
	if host, _, err := net.SplitHostPort(address); err == nil {
		host, _, _ = strings.Cut(host, "%") // certificates know no zones
		config.ServerName = host
	}
	return config
}

// introduce says who we are and checks the answer.
func (t *Transport) introduce(ctx context.Context, conn net.Conn, p *peer, lane transport.Lane) (transport.HostIdentity, error) {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return transport.HostIdentity{}, err
	}
	hello := t.greeting(kindHello, lane)
	hello.target = p.address
	if _, err := conn.Write(hello.append(nil)); err != nil {
		return transport.HostIdentity{}, fmt.Errorf("sending hello: %w", err)
	}
	answer, err := readGreeting(conn, t.version)
	if err == nil {
		err = t.checkAnswer(&answer, lane)
	}
	if err != nil {
		if refusalFor(err) != refusalGarbage {
			p.counters.HandshakesRefused.Add(1)
		}
		return transport.HostIdentity{}, err
	}
	return answer.identity, conn.SetDeadline(time.Time{})
}

func (t *Transport) checkAnswer(answer *greeting, lane transport.Lane) error {
	if answer.kind == kindRefusal {
		return answer.refusalError(t.version)
	}
	if answer.kind != kindWelcome || answer.lane != lane {
		return fmt.Errorf("%w: greeting of kind %d for lane %d, wanted a welcome for lane %d", transport.ErrFrame, answer.kind, answer.lane, lane)
	}
	return t.checkIdentity(answer)
}

// checkIdentity is the part of the check that both sides make.
func (t *Transport) checkIdentity(theirs *greeting) error {
	ours := &t.identity
	if theirs.identity.Deployment != ours.Deployment {
		return fmt.Errorf("%w: ours %q, theirs %q (protocol version %d on both sides)",
			transport.ErrDeployment, ours.Deployment, theirs.identity.Deployment, t.version)
	}
	if theirs.identity.HostID == ours.HostID && theirs.process != t.process {
		return fmt.Errorf("%w: %q has our own host id %x (a copied data directory?)",
			transport.ErrWrongHost, theirs.identity.Address, ours.HostID)
	}
	return t.hosts.admit(theirs.identity, theirs.process)
}

func (t *Transport) greeting(k kind, lane transport.Lane) greeting {
	return greeting{version: t.version, kind: k, lane: lane, identity: t.identity, process: t.process}
}

// tuneConnection sets what every connection has, dialled or accepted: no delay, probes when idle, and an end when sent
// bytes stay unacknowledged. Connections from a foreign DialContext keep their own ways.
func tuneConnection(conn net.Conn, keepAlive, userTimeout time.Duration) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	// Errors mean that the connection is gone already, which the next read or write reports better.
	_ = tcp.SetNoDelay(true)
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: max(keepAlive/5, time.Second), Count: 5})
	setUserTimeout(tcp, userTimeout)
}
