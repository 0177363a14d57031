package tcp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

const (
	// maxStrangers bounds accepted connections that have not passed the handshake yet; more are closed at once.
	maxStrangers = 256
	// acceptPauseMin and acceptPauseMax bound the pause after accept failed, as it does without file descriptors.
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// acceptLoop accepts until the listener is closed. Other errors pass: they end no listener.
func (t *Transport) acceptLoop() {
	pause := acceptPauseMin
	for {
		conn, err := t.listener.Accept()
		if err == nil {
			pause = acceptPauseMin
			t.acceptOne(conn)
			continue
		}
		if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		t.options.Logger.Warn("cannot accept a connection", "error", err, "pause", pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-t.ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, acceptPauseMax)
	}
}

func (t *Transport) acceptOne(conn net.Conn) {
	tuneConnection(conn, t.options.KeepAlive, t.options.DialTimeout)
	if t.options.TLS != nil {
		conn = tls.Server(conn, t.options.TLS)
	}
	if t.strangers.Add(1) > maxStrangers || !t.remember(conn) {
		t.strangers.Add(-1)
		_ = conn.Close()
		return
	}
	// The transport knows conn: if it closes before the worker starts, the connection is closed all the same.
	t.spawn(func() {
		defer t.forget(conn)
		t.serve(conn)
	})
}

// serve passes the handshake and then receives until the connection ends.
func (t *Transport) serve(conn net.Conn) {
	hello, err := t.welcome(conn)
	t.strangers.Add(-1)
	if err != nil {
		t.strangerCounters.HandshakesRefused.Add(1)
		if t.ctx.Err() == nil {
			t.options.Logger.Warn("connection refused", "from", conn.RemoteAddr().String(), "error", err)
		}
		return
	}
	defer t.hosts.detach(hello.identity, hello.lane, conn)
	p := t.incomingPeer(hello.identity.Address)
	err = t.receive(conn, hello, p)
	if errors.Is(err, transport.ErrFrame) {
		p.counters.BadFrames.Add(1)
		t.options.Logger.Warn("connection closed for a bad frame", "from", hello.identity.Address, "lane", hello.lane, "error", err)
	} else if err != io.EOF && t.ctx.Err() == nil {
		t.options.Logger.Info("incoming connection ended", "from", hello.identity.Address, "lane", hello.lane, "error", err)
	}
}

// welcome reads a hello and answers it.
func (t *Transport) welcome(conn net.Conn) (greeting, error) {
	if err := conn.SetDeadline(time.Now().Add(t.options.DialTimeout)); err != nil {
		return greeting{}, err
	}
	hello, err := readGreeting(conn, t.version)
	if err == nil {
		err = t.checkHello(&hello)
	}
	if err == nil && !t.hosts.attach(hello.identity, hello.lane, conn) {
		err = fmt.Errorf("%w: a newer process of host %x was met meanwhile", transport.ErrStaleEpoch, hello.identity.HostID)
	}
	if err != nil {
		t.refuse(conn, &hello, err)
		return hello, err
	}
	answer := t.greeting(kindWelcome, hello.lane)
	_, err = conn.Write(answer.append(nil))
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		t.hosts.detach(hello.identity, hello.lane, conn)
	}
	return hello, err
}

func (t *Transport) checkHello(hello *greeting) error {
	if hello.kind != kindHello {
		return fmt.Errorf("%w: greeting of kind %d, wanted a hello", transport.ErrFrame, hello.kind)
	}
	// Deployment and host id come first: their errors say more than a wrong address, which often follows from them.
	if err := t.checkIdentity(hello); err != nil {
		return err
	}
	if hello.target != t.identity.Address {
		return fmt.Errorf("%w: %q was dialled, this is %q", transport.ErrWrongHost, hello.target, t.identity.Address)
	}
	return nil
}

// refuse says why, if the other side speaks our language at all.
func (t *Transport) refuse(conn net.Conn, hello *greeting, reason error) {
	if hello.version == 0 { // not even a head
		return
	}
	lane := min(hello.lane, transport.LaneCount-1)
	answer := t.greeting(kindRefusal, lane)
	answer.refusal, answer.detail = refusalFor(reason), reason.Error()
	_, _ = conn.Write(answer.append(nil)) // the connection ends either way
}

// receive delivers frames until the connection ends; it returns why.
func (t *Transport) receive(conn net.Conn, hello greeting, p *peer) error {
	reader := frameReader{
		source:    conn,
		newChunk:  t.handler.NewChunk,
		chunkSize: bulkChunkBytes,
		maxFrame:  t.options.MaxFrameBytes,
		deliver: func(messages []raftpb.Message, frameBytes int) {
			p.counters.FramesReceived.Add(1)
			p.counters.BytesReceived.Add(uint64(frameBytes))
			p.counters.MessagesReceived.Add(uint64(len(messages)))
			t.handler.Receive(hello.identity, hello.lane, messages)
		},
	}
	switch hello.lane {
	case transport.LaneControl:
		reader.chunkSize = controlChunkBytes
	case transport.LaneSnapshot:
		reader.chunkSize, reader.newChunk = snapshotChunkBytes, transport.PrivateChunk
	}
	return reader.run()
}
