package engine

import (
	"errors"
	"fmt"
	"sync"
)

// streamBytes is where a stream takes its bytes from: a file (fileBytes), or a state machine that writes them as they are sent (streamPipe).
type streamBytes interface {
	// chunk returns bytes from offset on, at most most, that never change any more. None and no error: there are none yet, or total is
	// reached. total is the length of the whole, 0 while that is not known.
	chunk(offset uint64, most int) (data []byte, total uint64, err error)
	// forget says that nothing below offset is asked for again.
	forget(offset uint64)
	// close lets go of everything.
	close()
}

var (
	errStreamForgotten = errors.New("the bytes asked for are gone: the stream begins again")
	errStreamClosed    = errors.New("nobody receives the stream any more")
)

// streamPipe has a snapshot file's bytes on their way from a state machine's Save, which writes them in order on a job's worker, to the
// sender. It keeps what the receiver has not confirmed yet, so that a stream goes on after a cut, and holds the writer up while that is
// as much as it may keep. So a view of any size is streamed within a window's memory, and without a temporary file.
type streamPipe struct {
	size  int         // of a piece
	keep  uint64      // bytes kept at most, and a piece more
	wake  func()      // there is something to send
	yield func() bool // not nil: called again and again while the writer is held up, until it returns false; nil: it waits on room
	moved func(n int) // the writer made progress, or is not the one who should

	mu     sync.Mutex
	room   *sync.Cond
	pieces [][]byte // whole ones of size bytes each but for the last; the first begins at base
	base   uint64
	open   []byte // the piece being filled
	ended  bool   // everything was written
	err    error  // why it was not
	closed bool
	asleep bool // the writer is held up
}

func newStreamPipe(size int, keep uint64, wake func(), yield func() bool, moved func(int)) *streamPipe {
	p := &streamPipe{size: size, keep: keep, wake: wake, yield: yield, moved: moved}
	p.room = sync.NewCond(&p.mu)
	return p
}

// Write implements io.Writer for the snapshot's writer. data is copied.
func (p *streamPipe) Write(data []byte) (int, error) {
	written := 0
	for written < len(data) {
		if err := p.await(); err != nil {
			return written, err
		}
		if p.open == nil {
			p.open = make([]byte, 0, p.size)
		}
		n := min(len(data)-written, p.size-len(p.open))
		p.open = append(p.open, data[written:written+n]...) // nobody but the writer looks at it before it is whole
		written += n
		if len(p.open) == p.size {
			p.seal()
		}
		p.moved(n)
	}
	return written, nil
}

func (p *streamPipe) seal() {
	p.mu.Lock()
	p.pieces = append(p.pieces, p.open)
	p.open = nil
	p.mu.Unlock()
	p.wake()
}

// await waits until there is room, or nobody wants more.
func (p *streamPipe) await() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && uint64(len(p.pieces)*p.size) >= p.keep {
		if !p.wait() {
			return errStreamClosed
		}
	}
	p.asleep = false
	if p.closed {
		return errStreamClosed
	}
	return nil
}

// finish says that everything was written, or why not.
func (p *streamPipe) finish(err error) {
	p.mu.Lock()
	if !p.ended {
		p.ended, p.err = true, err
		if err == nil && len(p.open) > 0 {
			p.pieces = append(p.pieces, p.open)
		}
		p.open = nil
	}
	p.mu.Unlock()
	p.wake()
}

// drain waits until the receiver has confirmed everything, or nobody wants it any more: until then it is memory.
func (p *streamPipe) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && len(p.pieces) > 0 && p.wait() {
	}
	p.asleep = false
}

// wait lets go of the lock until something may have changed. False: no worker is run again, so nothing will.
func (p *streamPipe) wait() (going bool) {
	p.asleep = true
	if p.yield == nil {
		p.room.Wait()
		return true
	}
	p.mu.Unlock()
	defer p.mu.Lock()
	return p.yield()
}

// heldUp says whether the writer waits for the receiver, which is not its fault.
func (p *streamPipe) heldUp() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asleep
}

// chunk implements streamBytes.
func (p *streamPipe) chunk(offset uint64, most int) (data []byte, total uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	length := uint64(0)
	for _, piece := range p.pieces {
		length += uint64(len(piece))
	}
	switch {
	case p.err != nil:
		return nil, 0, p.err
	case p.closed: // its bytes are gone, whatever was written of them
		return nil, 0, errStreamClosed
	case offset < p.base:
		return nil, 0, fmt.Errorf("%w: at byte %d, asked for byte %d", errStreamForgotten, p.base, offset)
	case p.ended:
		total = p.base + length
	}
	if offset >= p.base+length {
		return nil, total, nil
	}
	at := offset - p.base
	piece := p.pieces[at/uint64(p.size)][at%uint64(p.size):]
	return piece[:min(len(piece), most)], total, nil
}

// forget implements streamBytes.
func (p *streamPipe) forget(offset uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.pieces) > 0 && p.base+uint64(len(p.pieces[0])) <= offset {
		p.base += uint64(len(p.pieces[0]))
		p.pieces[0] = nil
		p.pieces = p.pieces[1:]
	}
	p.room.Signal()
}

// close implements streamBytes: the writer gets an error, and so does the sender, unless it is the one who closes.
func (p *streamPipe) close() {
	p.mu.Lock()
	p.closed = true
	p.pieces = nil
	p.room.Signal()
	p.mu.Unlock()
	p.wake()
}
