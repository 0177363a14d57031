package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/flotilla-raft/flotilla/transport"
)

// writeTarget is how many bytes go into one system call and under one deadline, or one frame if that is larger.
const writeTarget = 1 << 20

// sender is the goroutine of a lane: it connects, writes what is queued, and tells the handler of both. All calls of PeerUp
// and PeerDown for a lane come from it, so they alternate.
type sender struct {
	*lane
	backoff backoff
	frames  []*frame
	buffers [][]byte
	writing net.Buffers // what is left of buffers; a field, because its address escapes
}

func newSender(l *lane) *sender { return &sender{lane: l, backoff: l.newBackoff()} }

// run connects again and again until the transport closes. After a failure it waits for the backoff, and then for somebody
// who still wants to send: nobody dials a host that left the deployment.
func (s *sender) run() {
	defer s.down(laneClosed)
	ctx := s.transport.ctx
	for ctx.Err() == nil {
		err := s.connectAndSend(ctx)
		if ctx.Err() != nil {
			return
		}
		s.transport.handler.PeerDown(s.peer.address, s.which, err)
		if !s.pause(s.backoff.next()) || !s.waitDemand() {
			return
		}
	}
}

// connectAndSend makes a connection and uses it until it is lost. It returns why, never nil; the lane is down by then.
func (s *sender) connectAndSend(ctx context.Context) error {
	conn, identity, err := s.transport.dial(ctx, s.peer, s.which)
	if err != nil {
		s.down(laneDown)
		s.peer.counters.ConnectFailures.Add(1)
		if s.backoff.failures == 0 && ctx.Err() == nil {
			s.transport.options.Logger.Warn("cannot connect to peer", "address", s.peer.address, "lane", s.which, "error", err)
		}
		return err
	}
	defer s.transport.forget(conn)
	s.peer.counters.Connects.Add(1)
	s.transport.options.Logger.Info("connected to peer", "address", s.peer.address, "lane", s.which, "host", identity.HostID, "epoch", identity.Epoch)
	s.up()
	s.transport.handler.PeerUp(s.peer.address, s.which, identity)
	began := time.Now()
	err = s.pump(ctx, conn)
	s.down(laneDown)
	if time.Since(began) > s.transport.options.ReconnectMax {
		s.backoff.reset()
	}
	s.peer.counters.Disconnects.Add(1)
	if ctx.Err() == nil {
		s.transport.options.Logger.Warn("connection to peer lost", "address", s.peer.address, "lane", s.which, "error", err)
	}
	return err
}

// pump writes what is queued until the connection fails, on this side or, as the watcher sees, on the other.
func (s *sender) pump(ctx context.Context, conn net.Conn) error {
	lost := make(chan error, 1)
	s.transport.spawn(func() {
		lost <- watch(conn)
		_ = conn.Close() // a write that is stuck ends
	})
	for {
		s.frames = s.take(s.frames[:0])
		if len(s.frames) > 0 {
			if err := s.write(conn); err != nil {
				_ = conn.Close()
				return reason(ctx, err, lost)
			}
			continue
		}
		select {
		case <-s.wake:
		case err := <-lost:
			return err
		case <-ctx.Done():
			return errStopping
		}
	}
}

// reason prefers what the watcher saw to a write that failed only because the connection had ended before: closed by the watcher, or by
// the system, which says why once. If it was the watcher that was told so, whoever writes then finds a broken pipe. The connection is
// closed by now, so the watcher is about to end; there is none if the transport closes.
func reason(ctx context.Context, err error, lost <-chan error) error {
	if !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	select {
	case seen := <-lost:
		if !errors.Is(seen, net.ErrClosed) && !errors.Is(seen, io.EOF) {
			return seen
		}
	case <-ctx.Done():
	}
	return err
}

// watch reads from an outgoing connection, on which the peer never says anything: it returns when the peer has gone.
func watch(conn net.Conn) error {
	var b [1]byte
	n, err := conn.Read(b[:])
	if n > 0 {
		return fmt.Errorf("%w: bytes on a connection that only we send on", transport.ErrFrame)
	}
	return fmt.Errorf("connection ended: %w", err)
}

// write writes the frames taken, in groups. On an error the rest is discarded; nothing of it stays counted.
func (s *sender) write(conn net.Conn) (err error) {
	for first := 0; first < len(s.frames); {
		s.buffers = s.buffers[:0]
		last, size, messages := first, 0, 0
		for last < len(s.frames) && (last == first || size+s.frames[last].size <= writeTarget) {
			f := s.frames[last]
			s.buffers = f.seal(s.buffers)
			size, messages, last = size+f.size, messages+f.messages, last+1
		}
		if err == nil {
			if err = s.writeBuffers(conn, size); err == nil {
				s.peer.counters.BytesSent.Add(uint64(size))
				s.peer.counters.FramesSent.Add(uint64(last - first))
				s.peer.counters.MessagesSent.Add(uint64(messages))
			}
		}
		clear(s.buffers)
		s.written(s.frames[first:last])
		first = last
	}
	clear(s.frames)
	return err
}

func (s *sender) writeBuffers(conn net.Conn, size int) error {
	if err := conn.SetWriteDeadline(s.writeDeadline(size)); err != nil {
		return fmt.Errorf("setting the write deadline: %w", err)
	}
	var err error
	if len(s.buffers) == 1 {
		_, err = conn.Write(s.buffers[0])
	} else {
		s.writing = s.buffers
		_, err = s.writing.WriteTo(conn)
		s.writing = nil
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("writing %d bytes: %w", size, err)
	}
	return err
}

// pause waits for d; it returns false when the transport closes.
func (s *sender) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.transport.ctx.Done():
		return false
	}
}

// waitDemand waits until somebody wants to send; it returns false when the transport closes.
func (s *sender) waitDemand() bool {
	for !s.demanded() {
		select {
		case <-s.wake:
		case <-s.transport.ctx.Done():
			return false
		}
	}
	return true
}
