package transport

import (
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Errors of every transport, wrapped with detail.
var (
	// ErrVersion says that the peer speaks another protocol version.
	ErrVersion = errors.New("transport: protocol version differs")
	// ErrDeployment says that the peer belongs to another deployment.
	ErrDeployment = errors.New("transport: deployment differs")
	// ErrWrongHost says that the peer at an address is not the host that was expected there, or refuses our identity.
	ErrWrongHost = errors.New("transport: unexpected host")
	// ErrStaleEpoch says that the peer presents a host epoch not above one that was already seen (R14).
	ErrStaleEpoch = errors.New("transport: host epoch went back")
	// ErrOwnEpoch is ErrStaleEpoch as the refused host learns it: the peer has seen a higher epoch of this very host.
	ErrOwnEpoch = fmt.Errorf("%w: that of this host", ErrStaleEpoch)
	// ErrFrame says that a frame is garbage: bad magic, length, checksum or content.
	ErrFrame = errors.New("transport: bad frame")
	// ErrClosed says that the transport was closed.
	ErrClosed = errors.New("transport: closed")
	// ErrConfig says that the options are wrong; the text lists every fault.
	ErrConfig = errors.New("transport: invalid options")
)

// Lane separates traffic by urgency. Each lane has its own connection and queue, so that bulk data cannot delay control.
type Lane uint8

const (
	// LaneControl carries votes, heartbeats, read rounds and everything else that is small and urgent.
	LaneControl Lane = iota
	// LaneBulk carries Replicate messages, their answers, and forwarded proposals.
	LaneBulk
	// LaneSnapshot carries the bytes of snapshots and the requests for them.
	LaneSnapshot
	// LaneCount is the number of lanes.
	LaneCount
)

// String returns the lane's name.
func (l Lane) String() string {
	switch l {
	case LaneControl:
		return "control"
	case LaneBulk:
		return "bulk"
	case LaneSnapshot:
		return "snapshot"
	}
	return "unknown"
}

// LaneOf returns the lane on which a message travels. A probe asks what became of entries sent before it and must not overtake
// them.
func LaneOf(t raftpb.MessageType) Lane {
	switch t {
	case raftpb.MessageReplicate, raftpb.MessageProbe, raftpb.MessageReplicateResponse, raftpb.MessagePropose, raftpb.MessageProposeResponse:
		return LaneBulk
	case raftpb.MessageSnapshotPull, raftpb.MessageSnapshotChunk:
		return LaneSnapshot
	}
	return LaneControl
}

// HostIdentity is what a host says of itself in the handshake.
type HostIdentity struct {
	Deployment string // name of the deployment; hosts of different deployments refuse each other
	HostID     uint64 // random, made once with the data directory
	Epoch      uint64 // one higher at every start of the process (R14)
	Address    string // where others reach it
}

// Transport moves messages between hosts. Delivery is best effort: messages may be lost, doubled or reordered across
// connections, never damaged. Implementations are checked by package transporttest.
type Transport interface {
	// Name says which implementation it is, as in "tcp".
	Name() string
	// Start begins to listen and to deliver to handler. Called once.
	Start(handler Handler) error
	// Peer returns the way to a host by its address; the same value for the same address. It does not connect yet.
	Peer(address string) Peer
	// Close stops everything and waits; no call of the handler comes after it returns.
	Close() error
}

// Peer sends to one host. Safe for concurrent use.
type Peer interface {
	// Address returns the host's address.
	Address() string
	// Send queues messages in order on a lane and returns how many it took: the rest, always a suffix, found the
	// queue full or the peer unreachable and is refused, not dropped in silence. Small batches and payloads are copied before it
	// returns; the bytes of large ones are kept until written and must never change (R4). The slice itself is not retained.
	Send(lane Lane, messages []raftpb.Message) int
	// Counters returns a copy of the peer's counters.
	Counters() Counters
}

// Counters are plain totals for one peer since the transport started.
type Counters struct {
	MessagesSent, BytesSent, FramesSent             uint64
	MessagesRefused                                 uint64 // by a full queue or while unreachable
	MessagesReceived, BytesReceived, FramesReceived uint64
	Connects, ConnectFailures, Disconnects          uint64
	BadFrames, HandshakesRefused                    uint64
}

// Chunk is a buffer that received batches alias. The handler hands it out, so that the log cache can count it.
type Chunk struct {
	Number uint64
	Bytes  []byte
}

// Handler is the host's side of a transport. Calls come from the transport's goroutines, for different connections
// concurrently; they must be short.
type Handler interface {
	// NewChunk returns a fresh buffer of at least size bytes for batches received on LaneControl and LaneBulk. Its bytes belong to the transport until it has
	// delivered messages from them, and are immutable from then on.
	NewChunk(size int) Chunk
	// Receive takes the messages of one frame. The slice belongs to the transport and is reused after the call; the lists
	// of batches in the messages are fresh and may be kept. Batches and payloads alias a Chunk whose number each such
	// message carries, and keep the chunk's capacity: cap(chunk.Bytes) - cap(batch) is a batch's offset. Nobody appends
	// to them. One connection's frames come in order. On LaneSnapshot bytes alias memory that is nobody else's, and Chunk is 0:
	// a state that is streamed must not push the log out of its cache.
	Receive(from HostIdentity, lane Lane, messages []raftpb.Message)
	// PeerUp says that an outgoing lane to address is connected, PeerDown that it is lost or could not be made.
	PeerUp(address string, lane Lane, identity HostIdentity)
	PeerDown(address string, lane Lane, err error)
}
