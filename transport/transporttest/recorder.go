package transporttest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// Received is one message as it came.
type Received struct {
	From    transport.HostIdentity
	Message raftpb.Message
	// batches and payload are copies of what the message's bytes were at delivery.
	batches [][]byte
	payload []byte
}

// Connection is one call of PeerUp (Err is nil) or PeerDown.
type Connection struct {
	Address  string
	Lane     transport.Lane
	Identity transport.HostIdentity
	Err      error
}

// Recorder is a handler that keeps everything and checks what must always hold; see the package's comment.
type Recorder struct {
	t *testing.T

	mu          sync.Mutex
	changed     *sync.Cond
	finished    bool
	chunks      map[uint64][]byte
	received    [transport.LaneCount][]Received
	connections []Connection
	blocked     [transport.LaneCount]chan struct{} // closed to let Receive go on; nil when it is not blocked
	entered     [transport.LaneCount]int           // calls of Receive that began
}

// NewRecorder makes an empty recorder.
func NewRecorder(t *testing.T) *Recorder {
	r := &Recorder{t: t, chunks: make(map[uint64][]byte)}
	r.changed = sync.NewCond(&r.mu)
	return r
}

// NewChunk implements transport.Handler.
func (r *Recorder) NewChunk(size int) transport.Chunk {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkOpen("NewChunk")
	number := uint64(len(r.chunks) + 1)
	// Garbage shows whoever takes bytes for received that were not.
	r.chunks[number] = bytes.Repeat([]byte{0xa5}, size)
	return transport.Chunk{Number: number, Bytes: r.chunks[number]}
}

// Receive implements transport.Handler.
func (r *Recorder) Receive(from transport.HostIdentity, lane transport.Lane, messages []raftpb.Message) {
	r.mu.Lock()
	r.entered[lane]++
	r.changed.Broadcast()
	gate := r.blocked[lane]
	r.mu.Unlock()
	if gate != nil {
		<-gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkOpen("Receive")
	for i := range messages {
		r.checkAlias(lane, &messages[i])
		entry := Received{From: from, Message: messages[i], payload: bytes.Clone(messages[i].Payload)}
		for _, batch := range messages[i].Batches {
			entry.batches = append(entry.batches, bytes.Clone(batch))
		}
		r.received[lane] = append(r.received[lane], entry)
	}
	clear(messages) // the slice is ours for the call only; nobody may rely on what it holds after
	r.changed.Broadcast()
}

// checkAlias checks that a message's bytes lie in the chunk that it names.
func (r *Recorder) checkAlias(lane transport.Lane, m *raftpb.Message) {
	if len(m.Batches) == 0 && len(m.Payload) == 0 {
		return
	}
	if lane == transport.LaneSnapshot {
		if m.Chunk != 0 {
			r.t.Errorf("message %v on the snapshot lane names chunk %d; its bytes belong to no cache", m.Type, m.Chunk)
		}
		return
	}
	chunk := r.chunks[m.Chunk]
	if chunk == nil {
		r.t.Errorf("message %v names chunk %d, which was never handed out", m.Type, m.Chunk)
		return
	}
	for _, part := range append([]raftpb.Batch{m.Payload}, m.Batches...) {
		if len(part) == 0 {
			continue
		}
		offset := cap(chunk) - cap(part)
		if offset < 0 || offset+len(part) > len(chunk) || &chunk[offset] != &part[0] {
			r.t.Errorf("%d bytes of a %v are not at offset %d of chunk %d", len(part), m.Type, offset, m.Chunk)
		}
	}
}

// PeerUp implements transport.Handler.
func (r *Recorder) PeerUp(address string, lane transport.Lane, identity transport.HostIdentity) {
	r.note(Connection{Address: address, Lane: lane, Identity: identity})
}

// PeerDown implements transport.Handler.
func (r *Recorder) PeerDown(address string, lane transport.Lane, err error) {
	if err == nil {
		r.t.Errorf("PeerDown(%s, %v) without an error", address, lane)
		err = fmt.Errorf("none given")
	}
	r.note(Connection{Address: address, Lane: lane, Err: err})
}

func (r *Recorder) note(c Connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkOpen("PeerUp or PeerDown")
	if c.Err == nil && r.up(c.Address, c.Lane) {
		r.t.Errorf("PeerUp(%s, %v) twice without a PeerDown between", c.Address, c.Lane)
	}
	r.connections = append(r.connections, c)
	r.changed.Broadcast()
}

func (r *Recorder) checkOpen(call string) {
	if r.finished {
		r.t.Errorf("%s was called after Close had returned", call)
	}
}

// up says whether a lane is connected; callers hold mu.
func (r *Recorder) up(address string, lane transport.Lane) bool {
	last := r.Last(address, lane)
	return last != nil && last.Err == nil
}

// Last returns the newest event of a lane, or nil. It is for conditions of Wait, which hold the lock.
func (r *Recorder) Last(address string, lane transport.Lane) *Connection {
	for i := len(r.connections) - 1; i >= 0; i-- {
		if c := &r.connections[i]; c.Address == address && c.Lane == lane {
			return c
		}
	}
	return nil
}

// Wait waits until condition, called with the recorder locked, holds.
func (r *Recorder) Wait(what string, condition func(r *Recorder) bool) {
	r.t.Helper()
	expired := false
	timer := time.AfterFunc(Patience, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		expired = true
		r.changed.Broadcast()
	})
	defer timer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for !condition(r) {
		if expired {
			r.t.Fatalf("waited %v for %s", Patience, what)
		}
		r.changed.Wait()
	}
}

// WaitReceived waits for a number of messages on a lane and returns them.
func (r *Recorder) WaitReceived(lane transport.Lane, count int) []Received {
	r.t.Helper()
	r.Wait(fmt.Sprintf("%d messages on the %v lane", count, lane), func(r *Recorder) bool { return len(r.received[lane]) >= count })
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.received[lane])
}

// Block makes Receive wait on a lane, as a host does that stands still; Unblock lets it go on.
func (r *Recorder) Block(lane transport.Lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocked[lane] = make(chan struct{})
}

// Unblock ends Block.
func (r *Recorder) Unblock(lane transport.Lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blocked[lane] != nil {
		close(r.blocked[lane])
		r.blocked[lane] = nil
	}
}

// Finish is called when Close has returned: nothing may be called any more, and all that was delivered must be as it was.
func (r *Recorder) Finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finished = true
	for lane := range r.received {
		for i := range r.received[lane] {
			r.received[lane][i].check(r.t)
		}
	}
}

// check compares a message's bytes with what they were at delivery.
func (e *Received) check(t *testing.T) {
	if !bytes.Equal(e.Message.Payload, e.payload) {
		t.Errorf("payload of a %v changed after its delivery", e.Message.Type)
	}
	if len(e.Message.Batches) != len(e.batches) {
		t.Fatalf("list of batches of a %v changed after its delivery", e.Message.Type)
	}
	for i, batch := range e.Message.Batches {
		if !bytes.Equal(batch, e.batches[i]) {
			t.Errorf("batch %d of a %v changed after its delivery", i, e.Message.Type)
		}
	}
}
