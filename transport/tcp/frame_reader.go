package tcp

import (
	"fmt"
	"io"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

const (
	bulkChunkBytes    = 256 << 10
	controlChunkBytes = 64 << 10
	// snapshotChunkBytes holds several chunks of a snapshot, so that the frame which straddles the end of one, and is copied, is
	// one of several.
	snapshotChunkBytes = 1 << 20

	// leastRead is the room below which a new chunk is begun rather than filling the old one by tiny reads.
	leastRead = 4 << 10
	// trustedFrame is the length up to which room for a frame is made when its header arrives. For a longer one room is
	// made only after half of it has arrived, so that a stranger's header alone costs no memory.
	trustedFrame = 1 << 20
	// keptMessages bounds the lists that a decoder keeps after an unusually full frame.
	keptMessages = 16 << 10
)

// frameReader cuts a stream into frames and decodes them in place: the bytes are read into a chunk, and messages alias it.
//
//	chunk   |<----- pinned ----->|         |<--- start..end --->|              |
//	        | delivered, aliased | free    | read, not decoded  | free: reads  |
//
// Invariants: pinned ≤ start ≤ end ≤ len(chunk.Bytes). Bytes below pinned never change again. Frames whose messages
// alias nothing (heartbeats, answers) leave pinned where it is, so that their room is used again and a lane of
// control messages lives in one chunk for ever.
type frameReader struct {
	source    io.Reader
	newChunk  func(size int) transport.Chunk
	deliver   func(messages []raftpb.Message, frameBytes int)
	chunkSize int
	maxFrame  int

	chunk              transport.Chunk
	pinned, start, end int
	decoder            raftpb.Decoder
}

// run reads and delivers until the source fails or a frame is bad; it never returns nil. io.EOF between two frames is
// returned as it is.
func (r *frameReader) run() error {
	for {
		need, err := r.decodeAll()
		if err != nil {
			return err
		}
		if need > trustedFrame && need > len(r.chunk.Bytes)-r.pinned {
			if err := r.readLargeFrame(need); err != nil {
				return err
			}
			continue
		}
		r.makeRoom(need)
		n, err := r.source.Read(r.chunk.Bytes[r.end:])
		r.end += n
		if n == 0 && err != nil {
			if err == io.EOF && r.start != r.end {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
}

// decodeAll delivers the whole frames that were read, and returns how many bytes the one after them needs from start.
func (r *frameReader) decodeAll() (need int, err error) {
	for {
		if r.end-r.start < frameHeaderSize {
			return frameHeaderSize, nil
		}
		length, err := parseFrameHeader(r.chunk.Bytes[r.start:r.end], r.maxFrame)
		if err != nil {
			return 0, err
		}
		whole := frameHeaderSize + length
		if r.end-r.start < whole {
			return whole, nil
		}
		if err := r.decode(r.chunk.Bytes[r.start : r.start+whole]); err != nil {
			return 0, err
		}
		r.start += whole
	}
}

// decode checks, decodes and delivers one frame, which must lie in the chunk with the chunk's capacity.
func (r *frameReader) decode(whole []byte) error {
	if err := checkFrame(whole); err != nil {
		return err
	}
	messages, err := r.decoder.Decode(whole[frameHeaderSize:])
	if err != nil {
		return fmt.Errorf("%w: %w", transport.ErrFrame, err)
	}
	if transport.OwnBatches(messages, r.chunk.Number) {
		r.pinned = r.start + len(whole)
	}
	r.deliver(messages, len(whole))
	if len(messages) > keptMessages {
		r.decoder = raftpb.Decoder{}
	}
	r.decoder.Reset()
	return nil
}

// makeRoom sees to it that need bytes from start fit into the chunk, and that the next read is not a tiny one.
func (r *frameReader) makeRoom(need int) {
	partial := r.end - r.start
	if partial == 0 {
		r.start, r.end = r.pinned, r.pinned
		if len(r.chunk.Bytes) > max(r.chunkSize, trustedFrame) {
			// A chunk that was made for one large frame is not kept for small ones.
			r.nextChunk(r.chunkSize, nil)
			return
		}
	}
	// When the header has not arrived, need says little: ask for a read of decent size too.
	room := max(need, min(leastRead, r.chunkSize))
	if r.start+room <= len(r.chunk.Bytes) {
		return
	}
	if r.pinned+room <= len(r.chunk.Bytes) {
		copy(r.chunk.Bytes[r.pinned:], r.chunk.Bytes[r.start:r.end])
		r.start, r.end = r.pinned, r.pinned+partial
		return
	}
	r.nextChunk(max(room, r.chunkSize), r.chunk.Bytes[r.start:r.end])
}

// nextChunk begins a new chunk with the partial frame that was read so far.
func (r *frameReader) nextChunk(size int, partial []byte) {
	chunk := r.newChunk(size)
	r.pinned, r.start, r.end = 0, 0, copy(chunk.Bytes, partial)
	r.chunk = chunk
}

// readLargeFrame reads half of a large frame of need bytes into private memory that grows as bytes arrive, and then goes
// on in a chunk of the frame's own size.
func (r *frameReader) readLargeFrame(need int) error {
	private := append(make([]byte, 0, trustedFrame), r.chunk.Bytes[r.start:r.end]...)
	for len(private) < need/2 {
		if len(private) == cap(private) {
			private = append(make([]byte, 0, 2*cap(private)), private...)
		}
		n, err := r.source.Read(private[len(private):min(cap(private), need)])
		private = private[:len(private)+n]
		if n == 0 && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	r.nextChunk(need, private)
	return nil
}
