package tcp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/lni/goutils/syncutil"

	"github.com/flotilla-raft/flotilla/transport"
)

// Transport is the TCP transport of one host.
type Transport struct {
	options  Options
	version  uint16 // ProtocolVersion, but for tests of the handshake
	process  uint64 // random
	identity transport.HostIdentity
	listener net.Listener
	handler  transport.Handler
	hosts    hostTable
	stopper  *syncutil.Stopper
	ctx      context.Context // ends when Close is called
	cancel   context.CancelFunc

	strangers        atomic.Int64           // accepted connections before the end of their handshake
	strangerCounters transport.LiveCounters // what belongs to no peer

	// state moves from stateNew to stateRunning to stateClosed. Lanes read it under their own mutex and start their
	// senders only while it is stateRunning; identity, listener and handler are written before that.
	state atomic.Int32

	closing sync.Once

	// mu guards what follows. It is a leaf: nothing but closing a connection is called under it.
	mu    sync.Mutex
	peers map[string]*peer
	conns map[net.Conn]struct{} // every open connection; nil once closed
}

const (
	stateNew int32 = iota
	stateRunning
	stateClosed
)

var _ transport.Transport = (*Transport)(nil)

// New checks the options and makes a transport that does nothing yet. The error wraps transport.ErrConfig.
func New(options Options) (*Transport, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	var process [8]byte
	if _, err := rand.Read(process[:]); err != nil {
		return nil, fmt.Errorf("drawing the number of this process: %w", err)
	}
	t := &Transport{
		options:  options.withDefaults(),
		version:  ProtocolVersion,
		process:  binary.LittleEndian.Uint64(process[:]),
		identity: options.Identity,
		stopper:  syncutil.NewStopper(),
		peers:    make(map[string]*peer),
		conns:    make(map[net.Conn]struct{}),
	}
	t.identity.Address = options.advertised()
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

// Name implements transport.Transport.
func (t *Transport) Name() string { return "tcp" }

// Start implements transport.Transport: it listens and begins to accept. Before it every Send refuses. A failed Start,
// as for an address in use, can be tried again.
func (t *Transport) Start(handler transport.Handler) error {
	if state := t.state.Load(); state != stateNew {
		return fmt.Errorf("%w or already started", transport.ErrClosed)
	}
	listener, err := net.Listen("tcp", t.options.ListenAddress)
	if err != nil {
		return fmt.Errorf("transport: listening on %s: %w", t.options.ListenAddress, err)
	}
	t.listener, t.handler = listener, handler
	if t.identity.Address == "" {
		t.identity.Address = listener.Addr().String()
	}
	if !t.state.CompareAndSwap(stateNew, stateRunning) {
		_ = listener.Close()
		return transport.ErrClosed
	}
	if !t.spawn(t.acceptLoop) {
		return transport.ErrClosed
	}
	return nil
}

// Identity returns what this host says of itself; its address is final once Start has returned.
func (t *Transport) Identity() transport.HostIdentity { return t.identity }

// Peer implements transport.Transport.
func (t *Transport) Peer(address string) transport.Peer { return t.peer(address) }

func (t *Transport) peer(address string) *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[address]
	if p == nil {
		p = newPeer(t, address)
		t.peers[address] = p
	}
	return p
}

// incomingPeer returns the peer that a connection's counters belong to. Strangers who make up addresses fill no table: beyond
// its bound the counters of an unknown one are thrown away with its connection.
func (t *Transport) incomingPeer(address string) *peer {
	t.mu.Lock()
	known := t.peers[address] != nil || len(t.peers) < maxHosts
	t.mu.Unlock()
	if known {
		return t.peer(address)
	}
	return newPeer(t, address)
}

// StrangerCounters returns what was counted of connections that never became a peer's: refused handshakes.
func (t *Transport) StrangerCounters() transport.Counters { return t.strangerCounters.Load() }

// Close implements transport.Transport. What is queued is discarded: whoever needs an answer waits for it before closing.
// It must not be called from a call of the handler, for whose end it waits.
func (t *Transport) Close() error {
	t.closing.Do(t.close) // a second call waits for the first
	return nil
}

func (t *Transport) close() {
	before := t.state.Swap(stateClosed)
	t.cancel()
	if before == stateRunning {
		_ = t.listener.Close()
	}
	t.mu.Lock()
	for conn := range t.conns {
		closeNow(conn)
	}
	t.conns = nil
	t.mu.Unlock()
	t.stopper.Stop()
}

// spawn runs f on a goroutine that Close waits for, unless Close was called. The check and the start are one step under mu,
// and never wait: Stopper.Stop holds the stopper's own mutex until the last worker has ended, so that a worker which
// asked the stopper itself for another one during Close would wait for ever.
func (t *Transport) spawn(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == nil {
		return false
	}
	t.stopper.RunWorker(f)
	return true
}

func (t *Transport) running() bool { return t.state.Load() == stateRunning }

// remember makes Close end conn. It returns false once Close was called.
func (t *Transport) remember(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == nil {
		return false
	}
	t.conns[conn] = struct{}{}
	return true
}

// forget closes conn and lets go of it.
func (t *Transport) forget(conn net.Conn) {
	_ = conn.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, conn)
}

// closeNow closes without the farewell of TLS, which waits for a write that is stuck.
func closeNow(conn net.Conn) {
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = wrapped.NetConn()
	}
	_ = conn.Close()
}
