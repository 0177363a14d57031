package limit

import (
	"fmt"
	"net"
	"sync"
)

// host is one of the hosts: a log, a link to each other host, and the goroutine that completes its own acknowledgements.
type host struct {
	cluster *cluster
	number  int
	log     *log
	links   []*link          // by host; nil for itself
	ack     [headerSize]byte // scratch of acknowledge, which only the log's goroutine calls

	mu     sync.Mutex
	wake   sync.Cond
	closed bool
	saved  []header // batches that it leads and has made durable
}

// acknowledge tells the leaders of batches that they are durable here. Completing those that the host leads itself is left to the
// completer: their callbacks would keep the log from its next commit.
func (h *host) acknowledge(headers []header) {
	var own int
	for _, batch := range headers {
		if int(batch.leader) == h.number {
			own++
			continue
		}
		header{kind: kindAck, leader: batch.leader, shard: batch.shard, index: batch.last()}.seal(h.ack[:])
		h.links[batch.leader].append(h.ack[:])
	}
	if own == 0 {
		return
	}
	h.mu.Lock()
	for _, batch := range headers {
		if int(batch.leader) == h.number {
			h.saved = append(h.saved, batch)
		}
	}
	h.mu.Unlock()
	h.wake.Signal()
}

// completeSaved counts the host's own acknowledgements until it is closed.
func (h *host) completeSaved() {
	var saved []header
	for {
		h.mu.Lock()
		for len(h.saved) == 0 && !h.closed {
			h.wake.Wait()
		}
		if h.closed {
			h.mu.Unlock()
			return
		}
		saved, h.saved = h.saved, saved[:0]
		h.mu.Unlock()
		for _, batch := range saved {
			h.cluster.shards[batch.shard].ack(batch.last())
		}
	}
}

// receive takes the frames of another host until the connection ends: batches go to the log, acknowledgements to their shard.
func (h *host) receive(conn net.Conn) {
	frames := newFrames(conn)
	for {
		header, frame, err := frames.next()
		if err == nil {
			err = header.check(frame, len(h.cluster.hosts), len(h.cluster.shards))
		}
		if err != nil {
			h.cluster.fail(fmt.Errorf("limit: host %d: receive: %w", h.number, err))
			return
		}
		if header.kind == kindBatch {
			h.log.append(frame, header)
		} else {
			h.cluster.shards[header.shard].ack(header.index)
		}
	}
}

func (h *host) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.wake.Signal()
	if h.log != nil { // nil if the start failed before
		h.log.close()
	}
	for _, l := range h.links {
		if l != nil {
			l.close()
		}
	}
}
