package tcp

import (
	"errors"
	"io"
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// busyFrame are the messages of a frame between two busy hosts: small batches and acknowledgements.
func busyFrame() (messages []raftpb.Message) {
	for i := range uint64(100) {
		messages = append(messages, replicate(i, 200), ping(i))
	}
	return messages
}

// BenchmarkSendFrame encodes messages into a frame and seals it.
func BenchmarkSendFrame(b *testing.B) {
	messages := busyFrame()
	var f frame
	var buffers [][]byte
	b.ReportAllocs()
	for b.Loop() {
		f.reset()
		for i := range messages {
			f.add(&messages[i], raftpb.MessageSize(&messages[i]))
		}
		buffers = f.seal(buffers[:0])
	}
	b.SetBytes(int64(f.size))
}

// BenchmarkReceiveFrame checks and decodes a frame.
func BenchmarkReceiveFrame(b *testing.B) {
	whole := encode(busyFrame()...)
	numbered, delivered := uint64(0), 0
	source := &source{}
	reader := frameReader{source: source, chunkSize: bulkChunkBytes, maxFrame: DefaultMaxFrameBytes,
		newChunk: func(size int) transport.Chunk {
			numbered++
			return transport.Chunk{Number: numbered, Bytes: make([]byte, size)}
		},
		deliver: func(messages []raftpb.Message, _ int) { delivered += len(messages) }}
	b.ReportAllocs()
	b.SetBytes(int64(len(whole)))
	for b.Loop() {
		source.data = whole
		if err := reader.run(); !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
	}
	if want := b.N * len(busyFrame()); delivered != want {
		b.Fatalf("%d messages were delivered, want %d", delivered, want)
	}
}
