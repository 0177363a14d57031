package memnet

import (
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

const (
	bulkChunkBytes    = 256 << 10
	controlChunkBytes = 64 << 10
)

// nextLocked returns the instant at which the link has something to do, Never if that depends on others. Packets with a
// sequence above bound do not count.
func (l *link) nextLocked(bound uint64) int64 {
	switch {
	case l.state == linkClosed:
		return Never
	case l.broken != nil:
		return 0
	case l.state == linkConnecting, l.state == linkDown && l.wanted:
		return l.attempt
	case l.state == linkUp && l.packets.len() > 0 && l.packets.first().sequence <= bound:
		return l.packets.first().due
	}
	return Never
}

func (l *link) next(bound uint64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nextLocked(bound)
}

// step does the one thing that is due at now, and returns false if nothing is. Handlers are called without a lock.
func (l *link) step(now int64, bound uint64) bool {
	l.mu.Lock()
	if l.nextLocked(bound) > now {
		l.mu.Unlock()
		return false
	}
	switch reason := l.broken; {
	case reason != nil:
		l.broken = nil
		l.mu.Unlock()
		l.peer.counters.Disconnects.Add(1)
		l.sender.handler.PeerDown(l.route.to, l.lane, reason)
	case l.state != linkUp:
		l.mu.Unlock()
		l.connect()
	default:
		p, target := l.packets.take(), l.target
		l.queued -= len(p.frame)
		l.delivering = len(p.frame)
		l.mu.Unlock()
		l.deliver(target, p)
	}
	return true
}

// connect makes the connection or notes that it cannot be made.
func (l *link) connect() {
	target, err := l.meet()
	l.mu.Lock()
	if l.state == linkClosed {
		l.mu.Unlock()
		return
	}
	if err != nil {
		l.downLocked()
		l.mu.Unlock()
		l.peer.counters.ConnectFailures.Add(1)
		l.sender.handler.PeerDown(l.route.to, l.lane, err)
		return
	}
	l.state, l.target, l.wanted = linkUp, target, false
	l.mu.Unlock()
	l.inbound = receiver{counters: &target.peer(l.route.from).counters}
	l.peer.counters.Connects.Add(1)
	l.sender.handler.PeerUp(l.route.to, l.lane, target.identity)
	if !target.live.Load() { // it closed after we met, and may not have seen this link
		l.breakConnection(errBroken)
	}
}

// meet finds the host at the link's address; both hosts check each other.
func (l *link) meet() (*Host, error) {
	target := l.network.lookup(l.route.to)
	if target == nil || l.network.partitioned(l.route) {
		return nil, fmt.Errorf("%w: %s to %s", errUnreachable, l.route.from, l.route.to)
	}
	if err := l.sender.admit(target.identity); err != nil {
		return nil, err
	}
	if err := target.admit(l.sender.identity); errors.Is(err, transport.ErrStaleEpoch) {
		return nil, fmt.Errorf("%w: refused by %s: %w", transport.ErrOwnEpoch, l.route.to, err)
	} else if err != nil {
		return nil, fmt.Errorf("refused by %s: %w", l.route.to, err)
	}
	return target, nil
}

// deliver hands a packet to the target, unless that has stopped or was cut off meanwhile.
func (l *link) deliver(target *Host, p packet) {
	var err error
	if handler := target.enter(); handler != nil {
		if !l.faults.Load().Partitioned {
			err = l.inbound.receive(handler, l.sender.identity, l.lane, p.frame)
		}
		target.leave()
	}
	l.mu.Lock()
	l.delivering = 0
	l.recycleLocked(p.frame)
	l.mu.Unlock()
	if err != nil {
		l.breakConnection(err)
	}
}

// receiver is the receiving end of a connection: a chunk that is filled from the front, frame by frame. Bytes below used are
// aliased by messages that were delivered and never change again; a frame that nothing aliases leaves its room to the next.
type receiver struct {
	counters *transport.LiveCounters
	chunk    transport.Chunk
	used     int
	decoder  raftpb.Decoder
}

// receive copies a frame into the target's chunk, decodes it there and delivers it, as if its bytes had come from a socket.
func (r *receiver) receive(handler transport.Handler, from transport.HostIdentity, lane transport.Lane, frame []byte) error {
	if r.used+len(frame) > len(r.chunk.Bytes) {
		size := bulkChunkBytes
		newChunk := handler.NewChunk
		switch lane {
		case transport.LaneControl:
			size = controlChunkBytes
		case transport.LaneSnapshot:
			newChunk = transport.PrivateChunk
		}
		r.chunk, r.used = newChunk(max(size, len(frame))), 0
	}
	end := r.used + copy(r.chunk.Bytes[r.used:], frame)
	r.decoder.Reset()
	messages, err := r.decoder.Decode(r.chunk.Bytes[r.used:end])
	if err != nil {
		r.counters.BadFrames.Add(1)
		return fmt.Errorf("%w: %w", transport.ErrFrame, err)
	}
	if transport.OwnBatches(messages, r.chunk.Number) {
		r.used = end
	}
	r.counters.FramesReceived.Add(1)
	r.counters.BytesReceived.Add(uint64(len(frame)))
	r.counters.MessagesReceived.Add(uint64(len(messages)))
	handler.Receive(from, lane, messages)
	return nil
}
