package network

import (
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// MaxQueuedBytes is what may be under way in one direction of a connection: 30 ms of 2 GB/s.
	MaxQueuedBytes = 64 << 20

	readSize = 256 << 10
)

// relay passes connections on to a target.
type relay struct {
	target   string
	delay    time.Duration
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
}

func newRelay(target string, delay time.Duration) (*relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{target: target, delay: delay, listener: listener, open: make(map[net.Conn]struct{})}
	r.work.Go(r.accept)
	return r, nil
}

func (r *relay) close() error {
	err := r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for conn := range r.open {
		_ = conn.Close() // what it says is of no matter: both ends are gone
	}
	r.mu.Unlock()
	r.work.Wait()
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

// keep remembers a connection for close. It is false, and the connection closed, if that has been.
func (r *relay) keep(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		_ = conn.Close()
		return false
	}
	r.open[conn] = struct{}{}
	return true
}

func (r *relay) forget(conn net.Conn) {
	_ = conn.Close()
	r.mu.Lock()
	delete(r.open, conn)
	r.mu.Unlock()
}

// accept ends when the listener is closed.
func (r *relay) accept() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		if !r.keep(near) {
			return
		}
		r.work.Go(func() { r.pass(near) })
	}
}

// pass joins a connection with one to the target. A target that does not answer looks like one whose connection ended at once.
func (r *relay) pass(near net.Conn) {
	defer r.forget(near)
	far, err := net.Dial("tcp", r.target)
	if err != nil || !r.keep(far) {
		return
	}
	defer r.forget(far)
	var both sync.WaitGroup
	both.Go(func() { r.copy(far, near) })
	both.Go(func() { r.copy(near, far) })
	both.Wait()
}

// chunk is what one read brought, and when it is to leave.
type chunk struct {
	bytes []byte
	due   time.Time
}

// copy passes bytes on, late, until either end is closed. Reading and writing are goroutines of their own, or the delay would bound
// the bandwidth.
func (r *relay) copy(to, from net.Conn) {
	q := newQueue()
	var writing sync.WaitGroup
	writing.Go(func() {
		defer q.stop()
		for {
			next, ok := q.take()
			if !ok {
				break
			}
			if wait := time.Until(next.due); wait > 0 {
				time.Sleep(wait)
			}
			if _, err := to.Write(next.bytes); err != nil {
				_ = from.Close() // the reader has nobody to read for
				return
			}
		}
		if closer, ok := to.(*net.TCPConn); ok {
			_ = closer.CloseWrite() // the end of the stream is passed on too
		}
	})
	buffer := make([]byte, readSize)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !q.put(chunk{append([]byte(nil), buffer[:n]...), time.Now().Add(r.delay)}) {
			break
		}
		if err != nil {
			break
		}
	}
	q.end()
	writing.Wait()
}

// queue holds the chunks of one direction.
type queue struct {
	mu      sync.Mutex
	changed sync.Cond
	chunks  []chunk
	bytes   int
	ended   bool // nothing is put any more
	stopped bool // nothing is taken any more
}

func newQueue() *queue {
	q := &queue{}
	q.changed.L = &q.mu
	return q
}

// put waits for room. It is false if nobody takes any more.
func (q *queue) put(c chunk) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.bytes >= MaxQueuedBytes && !q.stopped {
		q.changed.Wait()
	}
	q.chunks = append(q.chunks, c)
	q.bytes += len(c.bytes)
	q.changed.Broadcast()
	return !q.stopped
}

// take waits for a chunk. It is false once all are taken and nothing more comes.
func (q *queue) take() (chunk, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.chunks) == 0 && !q.ended {
		q.changed.Wait()
	}
	if len(q.chunks) == 0 {
		return chunk{}, false
	}
	next := q.chunks[0]
	q.chunks = q.chunks[1:]
	q.bytes -= len(next.bytes)
	q.changed.Broadcast()
	return next, true
}

func (q *queue) end() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	q.changed.Broadcast()
}

func (q *queue) stop() {
	q.mu.Lock()
	q.stopped = true
	q.mu.Unlock()
	q.changed.Broadcast()
}
