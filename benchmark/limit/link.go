package limit

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// linkBuffer is the least size of the buffer that a connection is read into.
const linkBuffer = 256 << 10

// link is one direction between two hosts: frames gather in it while the connection is written to.
type link struct {
	cluster *cluster
	conn    net.Conn

	mu      sync.Mutex
	wake    sync.Cond
	closed  bool
	pending []byte
}

func newLink(c *cluster, conn net.Conn) *link {
	l := &link{cluster: c, conn: conn}
	l.wake.L = &l.mu
	return l
}

// append adds a frame to what is sent next.
func (l *link) append(frame []byte) {
	l.mu.Lock()
	first := len(l.pending) == 0
	l.pending = append(l.pending, frame...)
	l.mu.Unlock()
	if first {
		l.wake.Signal()
	}
}

func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake.Signal()
	_ = l.conn.Close() // what is still in it is nobody's any more
}

// send writes what gathers until the link is closed.
func (l *link) send() {
	var frames []byte
	for {
		l.mu.Lock()
		for len(l.pending) == 0 && !l.closed {
			l.wake.Wait()
		}
		if l.closed {
			l.mu.Unlock()
			return
		}
		frames, l.pending = l.pending, frames[:0]
		l.mu.Unlock()
		if _, err := l.conn.Write(frames); err != nil {
			l.cluster.fail(fmt.Errorf("limit: send: %w", err))
			return
		}
	}
}

// frames reads the frames of a connection or a file one after the other into a buffer of its own.
type frames struct {
	source     io.Reader
	buffer     []byte
	start, end int // what was read and not yet given out
}

func newFrames(source io.Reader) *frames {
	return &frames{source: source, buffer: make([]byte, linkBuffer)}
}

// next returns the next frame, unchecked; it is good until the following call. At the end of the source it returns io.EOF, or
// io.ErrUnexpectedEOF inside a frame.
func (f *frames) next() (header, []byte, error) {
	if err := f.fill(headerSize); err != nil {
		return header{}, nil, err
	}
	h, err := parseHeader(f.buffer[f.start:])
	if err != nil {
		return header{}, nil, err
	}
	size := headerSize + int(h.length)
	if err := f.fill(size); err != nil {
		return header{}, nil, err
	}
	frame := f.buffer[f.start : f.start+size]
	f.start += size
	return h, frame, nil
}

// fill reads until the buffer holds the given number of bytes from start on. The buffer grows with what has really come, so that a
// damaged length costs no more memory than its stream has bytes.
func (f *frames) fill(size int) error {
	for f.end-f.start < size {
		if f.end == len(f.buffer) || f.start+size > len(f.buffer) && f.start > 0 {
			f.makeRoom()
		}
		n, err := f.source.Read(f.buffer[f.end:])
		f.end += n
		switch {
		case err == nil || f.end-f.start >= size:
		case errors.Is(err, io.EOF) && f.end > f.start:
			return io.ErrUnexpectedEOF
		default:
			return err
		}
	}
	return nil
}

// makeRoom moves what is held to the front, into a buffer of twice the size if it fills this one.
func (f *frames) makeRoom() {
	buffer := f.buffer
	if f.end-f.start == len(buffer) {
		buffer = make([]byte, 2*len(buffer))
	}
	f.end = copy(buffer, f.buffer[f.start:f.end])
	f.buffer, f.start = buffer, 0
}
