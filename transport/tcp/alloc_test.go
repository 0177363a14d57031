package tcp

import (
	"io"
	"net"
	"testing"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

func skipUnderChecks(t *testing.T) {
	t.Helper()
	if raceEnabled || invariant.Enabled {
		t.Skip("allocation budgets hold without the race detector and costly checks")
	}
}

// In the steady state Send and the sender allocate nothing, whether batches are copied or referenced.
func TestSendAllocatesNothing(t *testing.T) {
	skipUnderChecks(t)
	near, far := net.Pipe()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, far)
	}()
	tr, err := New(validOptions())
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(tr, "x:1")
	l := p.lanes[transport.LaneBulk]
	l.up()
	s := newSender(l)
	var messages []raftpb.Message
	for i := range uint64(50) {
		messages = append(messages, replicate(i, 200), ping(i))
	}
	messages = append(messages, replicate(51, 30_000))
	round := func() {
		for range 4 {
			if p.Send(transport.LaneBulk, messages) != len(messages) {
				t.Fatal("refused")
			}
		}
		s.frames = s.take(s.frames[:0])
		// A pipe's deadline allocates a timer; a socket's does not. So write without it.
		for _, f := range s.frames {
			s.buffers = f.seal(s.buffers[:0])
			for _, b := range s.buffers {
				if _, err := near.Write(b); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.written(s.frames)
	}
	round()
	if got := testing.AllocsPerRun(200, round); got > 0 {
		t.Errorf("%v allocations for %d messages", got, 4*len(messages))
	}
	_ = near.Close()
	<-drained
}

// A received frame costs one list of batches and its share of a chunk, whatever the number of its messages.
func TestReceiveAllocatesOncePerFrame(t *testing.T) {
	skipUnderChecks(t)
	var messages []raftpb.Message
	for i := range uint64(100) {
		messages = append(messages, replicate(i, 200), ping(i))
	}
	const frames = 100
	one := encode(messages...)
	var stream []byte
	for range frames {
		stream = append(stream, one...)
	}
	numbered := uint64(0)
	source := &source{}
	reader := frameReader{source: source, chunkSize: bulkChunkBytes, maxFrame: DefaultMaxFrameBytes,
		newChunk: func(size int) transport.Chunk {
			numbered++
			return transport.Chunk{Number: numbered, Bytes: make([]byte, size)}
		},
		deliver: func([]raftpb.Message, int) {}}
	perFrame := testing.AllocsPerRun(10, func() {
		source.data = stream
		if err := reader.run(); err != io.EOF {
			t.Fatal(err)
		}
	}) / frames
	if perFrame > 1.5 {
		t.Errorf("%v allocations per frame of %d messages", perFrame, len(messages))
	}
}
