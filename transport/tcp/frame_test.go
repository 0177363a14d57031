package tcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// reseal recomputes the checksum of a frame that a test changed.
func reseal(whole []byte) []byte {
	crc := crc32.Checksum(whole[:offFrameCRC], castagnoli)
	crc = crc32.Update(crc, castagnoli, whole[frameHeaderSize:])
	binary.LittleEndian.PutUint32(whole[offFrameCRC:], crc)
	return whole
}

// badFrames are frames that a reader must refuse, by what is wrong with them.
func badFrames() map[string]struct {
	bytes []byte
	text  string
} {
	change := func(offset int, value byte) []byte {
		whole := encode(ping(1), replicate(2, 100))
		whole[offset] = value
		return whole
	}
	oversize := encode(ping(1))
	binary.LittleEndian.PutUint32(oversize[offFrameLength:], DefaultMaxFrameBytes+1)
	empty := append([]byte(frameMagic), make([]byte, 12)...)
	content := reseal(append(encode(ping(1)), 0xff))
	binary.LittleEndian.PutUint32(content[offFrameLength:], uint32(len(content)-frameHeaderSize))
	return map[string]struct {
		bytes []byte
		text  string
	}{
		"Magic":    {change(0, 'X'), "begins with"},
		"Flags":    {change(offFrameFlags, 1), "flags 00000001"},
		"Checksum": {change(offFrameCRC, 0), "checksum"},
		"Payload":  {change(frameHeaderSize+3, 0xee), "checksum"},
		"Oversize": {oversize, "length"},
		"Empty":    {reseal(empty), "length 0"},
		"Content":  {reseal(content), "bad message"},
	}
}

// Garbage closes its connection and is counted; nothing else notices.
func TestBadFramesCloseOnlyTheirConnection(t *testing.T) {
	for name, c := range badFrames() {
		t.Run(name, func(t *testing.T) {
			h := startHost(t, 1, nil)
			neighbour := enter(t, h, transport.LaneControl)
			conn := enter(t, h, transport.LaneBulk)
			if _, err := conn.Write(append(encode(ping(1)), c.bytes...)); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Fatal("the connection goes on")
			}
			if got := h.WaitReceived(transport.LaneBulk, 1); len(got) != 1 || got[0].Message.Request != 1 {
				t.Errorf("received %+v, want the one good frame before the bad one", got)
			}
			if _, err := neighbour.Write(encode(ping(5))); err != nil {
				t.Fatal(err)
			}
			h.WaitReceived(transport.LaneControl, 1)
			if err := h.Transport.Close(); err != nil { // the counter is raised after the connection was closed
				t.Fatal(err)
			}
			if got := h.Peer("stranger:1").Counters(); got.BadFrames != 1 {
				t.Errorf("counters %+v, want one bad frame", got)
			}
		})
	}
}

// source returns its bytes in pieces of given sizes, in turn.
type source struct {
	data  []byte
	sizes []int
	reads int
}

func (s *source) Read(b []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := min(len(b), len(s.data))
	if len(s.sizes) > 0 {
		n = min(n, s.sizes[s.reads%len(s.sizes)])
	}
	s.reads++
	copy(b, s.data[:n])
	s.data = s.data[n:]
	return n, nil
}

// chunks hands out numbered chunks and remembers how many bytes they have.
type chunks struct {
	list  [][]byte
	total int
}

func (c *chunks) next(size int) transport.Chunk {
	c.list = append(c.list, bytes.Repeat([]byte{0xa5}, size))
	c.total += size
	return transport.Chunk{Number: uint64(len(c.list)), Bytes: c.list[len(c.list)-1]}
}

// Whatever the sizes of frames, reads and chunks: the reader delivers the very messages, in their chunks, and never changes
// what it delivered.
func TestFrameReaderAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var want []raftpb.Message
		for i := range rapid.IntRange(1, 40).Draw(t, "frames") {
			var messages []raftpb.Message
			for range rapid.IntRange(1, 4).Draw(t, "messages") {
				if rapid.Bool().Draw(t, "heartbeat") {
					messages = append(messages, ping(uint64(i)))
				} else {
					messages = append(messages, replicate(uint64(i), rapid.SampledFrom([]int{1, 50, 500, 5000, 30_000}).Draw(t, "size")))
				}
			}
			want = append(want, messages...)
			stream = append(stream, encode(messages...)...)
		}
		var handed chunks
		var got []raftpb.Message
		var copies [][]byte
		reader := frameReader{
			source:    &source{data: stream, sizes: rapid.SliceOf(rapid.SampledFrom([]int{1, 15, 16, 17, 1000, 70_000})).Draw(t, "reads")},
			newChunk:  handed.next,
			chunkSize: rapid.SampledFrom([]int{64, 1000, 8 << 10, 64 << 10}).Draw(t, "chunk"),
			maxFrame:  DefaultMaxFrameBytes,
			deliver: func(messages []raftpb.Message, _ int) {
				for _, m := range messages {
					for _, batch := range m.Batches {
						chunk := handed.list[m.Chunk-1]
						if &chunk[cap(chunk)-cap(batch)] != &batch[0] {
							t.Fatal("a batch does not lie where its capacity says")
						}
						copies = append(copies, bytes.Clone(batch))
					}
					got = append(got, m)
				}
			},
		}
		if err := reader.run(); err != io.EOF {
			t.Fatalf("run: %v", err)
		}
		for i := range got {
			for _, batch := range got[i].Batches {
				if !bytes.Equal(batch, copies[0]) {
					t.Fatal("a delivered batch was changed")
				}
				copies = copies[1:]
			}
			got[i].Chunk = 0
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%d messages differ from the %d that were sent", len(got), len(want))
		}
	})
}

// Frames that nothing aliases share one chunk for ever.
func TestFrameReaderKeepsItsChunkForControlMessages(t *testing.T) {
	stream := bytes.Repeat(encode(ping(1), ping(2)), 20_000)
	var handed chunks
	reader := frameReader{source: &source{data: stream, sizes: []int{1000, 33}}, newChunk: handed.next, chunkSize: controlChunkBytes,
		maxFrame: DefaultMaxFrameBytes, deliver: func([]raftpb.Message, int) {}}
	if err := reader.run(); err != io.EOF || len(handed.list) != 1 {
		t.Errorf("%d chunks for %d bytes, %v", len(handed.list), len(stream), err)
	}
}

// The header of a large frame costs no memory before the frame has arrived.
func TestFrameReaderBelievesNoHeader(t *testing.T) {
	whole := encode(replicate(1, 40<<20))
	for _, arrived := range []int{frameHeaderSize, 1 << 20, 10 << 20} {
		var handed chunks
		reader := frameReader{source: &source{data: whole[:arrived]}, newChunk: handed.next, chunkSize: bulkChunkBytes,
			maxFrame: DefaultMaxFrameBytes, deliver: func([]raftpb.Message, int) { t.Error("delivered") }}
		if err := reader.run(); err != io.ErrUnexpectedEOF {
			t.Errorf("run: %v", err)
		}
		if handed.total > 2*arrived+bulkChunkBytes {
			t.Errorf("chunks of %d bytes for %d that arrived", handed.total, arrived)
		}
	}
	var handed chunks
	delivered := 0
	reader := frameReader{source: &source{data: whole}, newChunk: handed.next, chunkSize: bulkChunkBytes,
		maxFrame: DefaultMaxFrameBytes, deliver: func([]raftpb.Message, int) { delivered++ }}
	if err := reader.run(); err != io.EOF || delivered != 1 || handed.total > len(whole)+2*bulkChunkBytes {
		t.Errorf("the whole frame: %v, delivered %d times, chunks of %d bytes", err, delivered, handed.total)
	}
}

func TestFrameRefusals(t *testing.T) {
	for name, c := range badFrames() {
		reader := frameReader{source: &source{data: c.bytes}, newChunk: new(chunks).next, chunkSize: bulkChunkBytes,
			maxFrame: DefaultMaxFrameBytes, deliver: func([]raftpb.Message, int) { t.Error("delivered") }}
		if err := reader.run(); !errors.Is(err, transport.ErrFrame) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want ErrFrame with %q", name, err, c.text)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(encode(ping(1)), 100)
	f.Add(encode(ping(1), replicate(2, 100), ping(3)), 7)
	f.Add(append(encode(replicate(1, 20_000)), encode(replicate(2, 10))...), 4096)
	f.Add(encode(ping(1))[:frameHeaderSize], 1)
	for _, c := range badFrames() {
		f.Add(c.bytes, 64)
	}
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		var handed chunks
		frames := 0
		reader := frameReader{source: &source{data: data, sizes: []int{max(1, min(step, 1<<16))}}, newChunk: handed.next, chunkSize: 8 << 10,
			maxFrame: DefaultMaxFrameBytes, deliver: func(_ []raftpb.Message, size int) { frames += size }}
		err := reader.run()
		if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, transport.ErrFrame) {
			t.Fatalf("untyped error %v", err)
		}
		if frames > len(data) {
			t.Fatalf("frames of %d bytes out of %d", frames, len(data))
		}
		if handed.total > 4*len(data)+trustedFrame+2*reader.chunkSize {
			t.Fatalf("chunks of %d bytes for %d", handed.total, len(data))
		}
	})
}
