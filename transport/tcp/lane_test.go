package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
	"github.com/flotilla-raft/flotilla/transport/transporttest"
)

// gate is a DialContext that waits until it is opened.
type gate struct{ open chan struct{} }

func (g gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	select {
	case <-g.open:
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, address)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Messages of many Sends that wait share frames, up to the target size.
func TestSendsShareFrames(t *testing.T) {
	g := gate{make(chan struct{})}
	a := startHost(t, 1, func(o *Options) { o.DialContext = g.dial })
	b := startHost(t, 2, nil)
	p := a.Peer(b.Identity().Address)
	const count = 5000
	size := 0
	for i := range uint64(count) {
		m := ping(i)
		size += raftpb.MessageSize(&m)
		if p.Send(transport.LaneControl, []raftpb.Message{m}) != 1 {
			t.Fatal("refused")
		}
	}
	close(g.open)
	b.WaitReceived(transport.LaneControl, count)
	if got, most := b.Peer(a.Identity().Address).Counters().FramesReceived, uint64(size/frameTarget+1); got > most {
		t.Errorf("%d frames for %d bytes, want at most %d", got, size, most)
	}
}

// The queue takes what its bound says, to the message, and gives room back.
func TestQueueBound(t *testing.T) {
	g := gate{make(chan struct{})}
	a := startHost(t, 1, func(o *Options) { o.DialContext, o.BulkQueueBytes, o.MaxFrameBytes = g.dial, 100_000, minFrameBytes })
	b := startHost(t, 2, nil)
	p := a.Peer(b.Identity().Address)
	big := replicate(1, 60_000)
	if got := p.Send(transport.LaneBulk, []raftpb.Message{big, big, ping(1)}); got != 1 {
		t.Errorf("took %d of two messages of 60,000 bytes into a queue of 100,000", got)
	}
	if got := p.Send(transport.LaneBulk, []raftpb.Message{ping(1)}); got != 1 {
		t.Error("a small message finds no room where a large one did not")
	}
	if got := p.Send(transport.LaneControl, []raftpb.Message{ping(1), replicate(2, minFrameBytes), ping(2)}); got != 1 {
		t.Errorf("took %d messages, the second is larger than a frame may be", got)
	}
	if got := p.Counters().MessagesRefused; got != 4 {
		t.Errorf("%d messages counted as refused, want 4", got)
	}
	close(g.open)
	b.WaitReceived(transport.LaneBulk, 2)
	l := a.peer(p.Address()).lanes[transport.LaneBulk]
	for { // the sender gives the room back after the receiver has seen the bytes
		l.mu.Lock()
		queued := l.queued
		l.mu.Unlock()
		if queued == 0 {
			break
		}
		if queued < 0 || queued > 100_000 {
			t.Fatalf("%d bytes queued", queued)
		}
	}
}

// One message larger than the whole bound passes an empty queue: refusing it would refuse it for ever.
func TestQueueTakesOneMessageAboveItsBound(t *testing.T) {
	a := startHost(t, 1, func(o *Options) { o.BulkQueueBytes = 1000 })
	b := startHost(t, 2, nil)
	if got := a.Peer(b.Identity().Address).Send(transport.LaneBulk, []raftpb.Message{replicate(1, 50_000), ping(2)}); got != 1 {
		t.Errorf("took %d", got)
	}
	b.WaitReceived(transport.LaneBulk, 1)
}

// Nobody dials before the first Send, and after a failure nobody dials again until somebody wants to send.
func TestDialsOnDemand(t *testing.T) {
	attempts := make(chan struct{}, 100)
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	a := startHost(t, 1, func(o *Options) {
		o.DialContext = func(context.Context, string, string) (net.Conn, error) {
			attempts <- struct{}{}
			return nil, refused
		}
	})
	p := a.Peer("nobody:1")
	l := a.peer("nobody:1").lanes[transport.LaneControl]
	for round := range 3 {
		if len(attempts) != 0 {
			t.Fatalf("round %d: dialled without demand", round)
		}
		p.Send(transport.LaneControl, []raftpb.Message{ping(1)})
		<-attempts
		for { // until the sender waits for demand
			l.mu.Lock()
			idle := l.state == laneDown && l.waiting
			l.mu.Unlock()
			if idle {
				break
			}
		}
	}
	if err := waitDown(t, a, "nobody:1", transport.LaneControl); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("PeerDown with %v", err)
	}
}

// silentPeer passes the handshake and then reads nothing until the test ends.
func silentPeer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		hello, err := readGreeting(conn, ProtocolVersion)
		if err != nil {
			t.Error(err)
			return
		}
		welcome := greeting{version: ProtocolVersion, kind: kindWelcome, lane: hello.lane, process: 1,
			identity: transport.HostIdentity{Deployment: "d", HostID: 99, Epoch: 1, Address: listener.Addr().String()}}
		_, _ = conn.Write(welcome.append(nil))
		<-ended
	}()
	t.Cleanup(func() {
		close(ended)
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

// A peer that takes nothing any more is noticed by the write timeout and reported; what was queued is discarded.
func TestStuckPeerIsGivenUp(t *testing.T) {
	address := silentPeer(t)
	a := startHost(t, 1, func(o *Options) { o.ControlWriteTimeout = 50 * time.Millisecond })
	p := a.Peer(address)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				p.Send(transport.LaneControl, []raftpb.Message{replicate(1, 60_000)})
			}
		}
	}()
	err := waitDown(t, a, address, transport.LaneControl)
	close(stop)
	<-done
	// Either clock may win: ours on the write, or the kernel's on the connection.
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("PeerDown with %v", err)
	}
}

// Close ends a write that is stuck, and a connection attempt that hangs.
func TestCloseWhileStuck(t *testing.T) {
	address := silentPeer(t)
	a := startHost(t, 1, func(o *Options) { o.DialContext = hangUnless(address) })
	p := a.Peer(address)
	p.Send(transport.LaneBulk, []raftpb.Message{ping(1)})
	a.Wait("PeerUp", func(r *transporttest.Recorder) bool { return r.Last(address, transport.LaneBulk) != nil })
	for p.Send(transport.LaneBulk, []raftpb.Message{replicate(1, 60_000)}) == 1 { // until queue and sockets are full
	}
	a.Peer("hangs:1").Send(transport.LaneBulk, []raftpb.Message{ping(1)})
	if err := a.Transport.Close(); err != nil {
		t.Error(err)
	}
}

// hangUnless dials one address; any other hangs until it is cancelled.
func hangUnless(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, to string) (net.Conn, error) {
		if to == address {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, to)
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
}

// Only one side speaks on a connection: bytes from the accepting side end it.
func TestTalkingAcceptorIsRefused(t *testing.T) {
	h := startHost(t, 1, func(o *Options) { o.ReconnectMin, o.ReconnectMax = time.Hour, time.Hour })
	welcome := greeting{version: ProtocolVersion, kind: kindWelcome, lane: transport.LaneBulk, process: 1,
		identity: transport.HostIdentity{Deployment: "d", HostID: 99, Epoch: 3, Address: "x:1"}}
	address := serveOnce(t, append(welcome.append(nil), encode(ping(1))...))
	h.Peer(address).Send(transport.LaneBulk, []raftpb.Message{ping(1)})
	if err := waitDown(t, h, address, transport.LaneBulk); !errors.Is(err, transport.ErrFrame) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("PeerDown with %v", err)
	}
}

// flakyListener fails a few times, as a listener does without file descriptors.
type flakyListener struct {
	net.Listener
	failures int
}

func (f *flakyListener) Accept() (net.Conn, error) {
	if f.failures > 0 {
		f.failures--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestAcceptLoopSurvivesErrors(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := validOptions()
	o.ListenAddress = listener.Addr().String()
	o.Identity.Address, o.Identity.HostID = o.ListenAddress, 2
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	recorder := transporttest.NewRecorder(t)
	b.handler, b.listener = recorder, &flakyListener{listener, 3}
	b.state.Store(stateRunning)
	b.spawn(b.acceptLoop)
	a := startHost(t, 1, nil)
	a.Peer(o.ListenAddress).Send(transport.LaneBulk, []raftpb.Message{ping(1)})
	recorder.WaitReceived(transport.LaneBulk, 1)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	recorder.Finish()
}

// Connections that pass no handshake are bounded, and do not keep hosts out for ever.
func TestStrangersAreBounded(t *testing.T) {
	h := startHost(t, 1, func(o *Options) { o.DialTimeout = time.Minute })
	var strangers []net.Conn
	for range maxStrangers {
		strangers = append(strangers, dialRaw(t, h))
	}
	one := dialRaw(t, h)
	if _, err := one.Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one stranger too many: %v", err)
	}
	for _, conn := range strangers {
		_ = conn.Close()
	}
	b := startHost(t, 2, nil)
	p := b.Peer(h.Identity().Address)
	for p.Counters().Connects == 0 { // refused until the strangers' connections have ended
		p.Send(transport.LaneControl, []raftpb.Message{ping(1)})
	}
}

// What the system says of a connection that it ended it says once: to the watcher, and then the writer finds a broken pipe, which tells nobody why.
func TestTheReasonIsTheOneThatTells(t *testing.T) {
	pipe, closed := fmt.Errorf("writing: %w", syscall.EPIPE), fmt.Errorf("writing: %w", net.ErrClosed)
	for _, test := range []struct{ written, seen, want error }{
		{pipe, syscall.ETIMEDOUT, syscall.ETIMEDOUT},
		{closed, transport.ErrFrame, transport.ErrFrame},
		{pipe, io.EOF, syscall.EPIPE},
		{pipe, net.ErrClosed, syscall.EPIPE},
		{os.ErrDeadlineExceeded, net.ErrClosed, os.ErrDeadlineExceeded},
	} {
		lost := make(chan error, 1)
		lost <- test.seen
		if got := reason(t.Context(), test.written, lost); !errors.Is(got, test.want) {
			t.Errorf("written %v, seen %v: %v, want %v", test.written, test.seen, got, test.want)
		}
	}
	closing, cancel := context.WithCancel(t.Context())
	cancel()
	if got := reason(closing, closed, make(chan error)); !errors.Is(got, closed) {
		t.Errorf("without a watcher: %v", got)
	}
}
