package transporttest

import (
	"bytes"
	"reflect"
	"slices"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// Clause: messages are delivered whole, every field of every type, on the lane that they were sent on, and come with
// the identity of the sender.
func testDelivery(s *suite) {
	a, b := s.host(), s.host()
	var sent [transport.LaneCount][]raftpb.Message
	for kind := raftpb.MessageType(1); kind < raftpb.MessageTypeCount; kind++ {
		lane := transport.LaneOf(kind)
		sent[lane] = append(sent[lane], full(kind))
		s.sendAll(a.Peer(b.identity.Address), lane, sent[lane][len(sent[lane])-1:])
	}
	for lane := range transport.LaneCount {
		for i, got := range b.WaitReceived(lane, len(sent[lane])) {
			if got.From != a.identity {
				s.Errorf("message comes from %+v, want %+v", got.From, a.identity)
			}
			got.Message.Chunk = 0 // does not travel; the recorder has checked it
			if !reflect.DeepEqual(got.Message, sent[lane][i]) {
				s.Errorf("lane %v, message %d:\n got %+v\nwant %+v", lane, i, got.Message, sent[lane][i])
			}
		}
	}
}

// Clause: Send queues messages in order; one connection's frames come in order.
func testOrder(s *suite) {
	a, b := s.host(), s.host()
	const count = 3000
	p := a.Peer(b.identity.Address)
	for next, length := uint64(0), uint64(1); next < count; length = length%97 + 1 {
		some := pings(next, min(length, count-next))
		for lane := range transport.LaneCount {
			s.sendAll(p, lane, some)
		}
		next += uint64(len(some))
	}
	for lane := range transport.LaneCount {
		for i, got := range b.WaitReceived(lane, count)[:count] {
			if got.Message.Request != uint64(i) {
				s.Fatalf("message %d on the %v lane has number %d", i, lane, got.Message.Request)
			}
		}
	}
}

// Clause: small batches are copied before Send returns; the slice of messages is not retained. Hosts share no memory.
func testSmallBatchesAreCopied(s *suite) {
	a, b := s.host(), s.host()
	messages := []raftpb.Message{replicate(1, 50, 1000), replicate(2, 8)}
	want := []raftpb.Batch{}
	for _, m := range messages {
		for _, batch := range m.Batches {
			want = append(want, bytes.Clone(batch))
		}
	}
	// The first Send of a lane is taken: it waits for the connection.
	if taken := a.Peer(b.identity.Address).Send(transport.LaneBulk, messages); taken != len(messages) {
		s.Fatalf("the first Send took %d of %d messages", taken, len(messages))
	}
	for _, m := range messages {
		for _, batch := range m.Batches {
			clear(batch)
		}
	}
	clear(messages)
	var got []raftpb.Batch
	for _, received := range b.WaitReceived(transport.LaneBulk, 2) {
		got = append(got, received.Message.Batches...)
	}
	if !slices.EqualFunc(got, want, func(x, y raftpb.Batch) bool { return bytes.Equal(x, y) }) {
		s.Error("batches differ from what they were when Send returned")
	}
}

// Clause: batches of any size arrive byte for byte, alias a chunk that the handler handed out, and keep its capacity
// (the recorder checks every one).
func testBatches(s *suite) {
	a, b := s.host(), s.host()
	sizes := []int{8, 100, 4096, 16<<10 - 97, 16<<10 - 96, 16 << 10, 64 << 10, 256 << 10, 256<<10 + 1, 1 << 20, 3 << 20}
	var sent []raftpb.Message
	for i, size := range sizes {
		sent = append(sent,
			replicate(uint64(100*i), size),
			replicate(uint64(100*i+10), 8, size, size, 8),
			ping(uint64(100*i+20)),
			replicate(uint64(100*i+30), 20_000, 20_000))
	}
	p := a.Peer(b.identity.Address)
	for i := range sent {
		s.sendAll(p, transport.LaneBulk, sent[i:i+1])
	}
	for i, got := range b.WaitReceived(transport.LaneBulk, len(sent)) {
		if got.Message.Request != sent[i].Request || len(got.Message.Batches) != len(sent[i].Batches) {
			s.Fatalf("message %d is number %d with %d batches, want %d with %d", i,
				got.Message.Request, len(got.Message.Batches), sent[i].Request, len(sent[i].Batches))
		}
		for j, batch := range got.Message.Batches {
			if !bytes.Equal(batch, sent[i].Batches[j]) {
				s.Errorf("batch %d of message %d (%d bytes) differs", j, i, len(sent[i].Batches[j]))
			}
		}
	}
}

// Clause: what comes on the snapshot lane arrives byte for byte, and takes no chunk of the handler's; payloads, small ones copied and
// large ones referenced, are immutable from their delivery on (the recorder compares at the end).
func testSnapshotChunks(s *suite) {
	a, b := s.host(), s.host()
	p := a.Peer(b.identity.Address)
	var sent []raftpb.Message
	for i, size := range []int{0, 1, 1000, 16<<10 - 1, 16 << 10, 64 << 10, 256 << 10, 300_000, 1 << 20, 256 << 10, 256 << 10, 0, 7} {
		m := ping(uint64(i))
		m.Payload, m.Backlog = batch(uint64(i), size)[:size], 5 // a field behind the payload
		sent = append(sent, m)
		s.sendAll(p, transport.LaneSnapshot, sent[i:])
	}
	for i, got := range b.WaitReceived(transport.LaneSnapshot, len(sent)) {
		if m := &got.Message; m.Request != uint64(i) || !bytes.Equal(m.Payload, sent[i].Payload) || m.Backlog != 5 {
			s.Errorf("message %d came as number %d with %d bytes, want %d bytes", i, m.Request, len(m.Payload), len(sent[i].Payload))
		}
	}
	b.Wait("any moment", func(r *Recorder) bool {
		if len(r.chunks) != 0 {
			s.Errorf("the snapshot lane took %d chunks of the handler's", len(r.chunks))
		}
		return true
	})
}

// Clause: a chunk's bytes are immutable from their delivery on, also while later frames, with and without batches, are
// received into the rest of it (the recorder compares at the end).
func testChunkReuse(s *suite) {
	a, b := s.host(), s.host()
	p := a.Peer(b.identity.Address)
	const rounds = 2000
	for i := range uint64(rounds) {
		s.sendAll(p, transport.LaneBulk, []raftpb.Message{ping(i), replicate(i, int(i%700)), ping(i)})
		if i%50 == 0 { // now and then let the reader come to rest, at every kind of place
			b.WaitReceived(transport.LaneBulk, int(3*i+3))
		}
	}
	b.WaitReceived(transport.LaneBulk, 3*rounds)
}

// Clause: a host reaches itself like any other.
func testOwnAddress(s *suite) {
	a := s.host()
	s.sendAll(a.Peer(a.identity.Address), transport.LaneControl, pings(0, 3))
	a.WaitReceived(transport.LaneControl, 3)
}
