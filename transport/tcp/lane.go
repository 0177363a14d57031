package tcp

import (
	"sync"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// laneState says what a lane does with messages.
type laneState uint8

const (
	// laneIdle has never been used: the first Send queues and makes the lane connect.
	laneIdle laneState = iota
	// laneFirst connects for the first time: messages queue.
	laneFirst
	// laneUp is connected.
	laneUp
	// laneDown lost its connection or could not make one: messages are refused until it is up again.
	laneDown
	// laneClosed refuses for ever.
	laneClosed
)

// spareFrames is how many written frames a lane keeps for later ones.
const spareFrames = 16

// lane is the outgoing side of one lane to one peer: a queue of frames that callers of Send fill under mu, and the
// sender goroutine (sender.go) that takes them all at once and writes them. Encoding happens in the caller's goroutine,
// a step worker; the sender does checksums and system calls only.
type lane struct {
	transport *Transport
	peer      *peer
	which     transport.Lane
	limit     int           // bytes that may be queued
	wake      chan struct{} // capacity 1: the sender looks again

	mu      sync.Mutex
	state   laneState
	waiting bool     // the sender has found nothing to do and needs a signal
	wanted  bool     // somebody called Send since the last attempt to connect
	pending []*frame // in order; the last one may take more
	spare   []*frame
	// queued is the sum of the sizes of pending frames and of those being written. Invariant: at most limit, plus one
	// message that came when it was 0.
	queued int
}

func newLane(t *Transport, p *peer, which transport.Lane) *lane {
	return &lane{transport: t, peer: p, which: which, limit: t.options.queueBytes(which), wake: make(chan struct{}, 1)}
}

// send queues a prefix of messages and returns its length.
func (l *lane) send(messages []raftpb.Message) int {
	l.mu.Lock()
	taken := 0
	switch l.state {
	case laneIdle:
		l.startLocked()
		taken = l.queueLocked(messages)
	case laneFirst, laneUp:
		taken = l.queueLocked(messages)
	case laneDown:
		l.wanted = true
	}
	signal := l.waiting && (l.wanted || len(l.pending) > 0)
	if signal {
		l.waiting = false
	}
	l.mu.Unlock()
	if signal {
		l.notify()
	}
	if refused := len(messages) - taken; refused > 0 {
		l.peer.counters.MessagesRefused.Add(uint64(refused))
	}
	return taken
}

func (l *lane) notify() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// startLocked begins to connect, if the transport runs.
func (l *lane) startLocked() {
	if l.transport.running() && l.transport.spawn(func() { newSender(l).run() }) {
		l.state = laneFirst
	}
}

// queueLocked encodes messages into frames until one finds no room.
func (l *lane) queueLocked(messages []raftpb.Message) int {
	if l.state == laneIdle { // startLocked found the transport not running
		return 0
	}
	var last *frame
	if n := len(l.pending); n > 0 {
		last = l.pending[n-1]
	}
	for i := range messages {
		size := raftpb.MessageSize(&messages[i])
		if size > l.transport.options.MaxFrameBytes || l.queued > 0 && l.queued+size > l.limit {
			return i
		}
		if last == nil || last.full(size) {
			last = l.newFrameLocked()
			l.pending = append(l.pending, last)
			l.queued += last.size
		}
		last.add(&messages[i], size)
		l.queued += size
	}
	return len(messages)
}

func (l *lane) newFrameLocked() *frame {
	var f *frame
	if n := len(l.spare); n > 0 {
		f, l.spare = l.spare[n-1], l.spare[:n-1]
	} else {
		f = new(frame)
	}
	f.reset()
	return f
}

// take moves all pending frames to the end of frames. If there are none it arms the signal and returns frames as it is.
func (l *lane) take(frames []*frame) []*frame {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = len(l.pending) == 0
	frames = append(frames, l.pending...)
	clear(l.pending)
	l.pending = l.pending[:0]
	return frames
}

// written gives back frames whose bytes nobody reads any more, and the room that they took in the queue.
func (l *lane) written(frames []*frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.releaseLocked(frames)
}

func (l *lane) releaseLocked(frames []*frame) {
	for _, f := range frames {
		l.queued -= f.size
		if len(l.spare) < spareFrames && cap(f.bytes) <= spareFrameBytes {
			clear(f.splices) // a spare frame keeps no batch alive
			f.splices = f.splices[:0]
			l.spare = append(l.spare, f)
		}
	}
}

// up lets messages through.
func (l *lane) up() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state, l.wanted = laneUp, false
}

// down refuses messages from now on and discards those that wait.
func (l *lane) down(state laneState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
	l.wanted = false
	l.releaseLocked(l.pending)
	clear(l.pending)
	l.pending = l.pending[:0]
}

// demanded returns whether somebody wants to send over a lane that is down; if not it arms the signal.
func (l *lane) demanded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = !l.wanted
	return l.wanted
}

// writeDeadline bounds a write of the given length: see Options.ControlWriteTimeout.
func (l *lane) writeDeadline(length int) time.Time {
	return time.Now().Add(l.transport.options.writeTimeout(l.which) + time.Duration(length>>20)*time.Second)
}

// newBackoff returns the pauses between this lane's attempts.
func (l *lane) newBackoff() backoff {
	o := &l.transport.options
	return newBackoff(o.ReconnectMin, o.ReconnectMax, o.Seed, l.peer.address, uint8(l.which))
}

// peer is one other host.
type peer struct {
	address  string
	lanes    [transport.LaneCount]*lane
	counters transport.LiveCounters
}

func newPeer(t *Transport, address string) *peer {
	p := &peer{address: address}
	for which := range p.lanes {
		p.lanes[which] = newLane(t, p, transport.Lane(which))
	}
	return p
}

// Address implements transport.Peer.
func (p *peer) Address() string { return p.address }

// Send implements transport.Peer. It never blocks on the network. A lane that does not exist refuses.
func (p *peer) Send(which transport.Lane, messages []raftpb.Message) int {
	if which >= transport.LaneCount || len(messages) == 0 {
		return 0
	}
	return p.lanes[which].send(messages)
}

// Counters implements transport.Peer.
func (p *peer) Counters() transport.Counters { return p.counters.Load() }
