package tcp

import (
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/transport"
)

// counters is transport.Counters with atomic fields.
type counters struct {
	messagesSent, bytesSent, framesSent             atomic.Uint64
	messagesRefused                                 atomic.Uint64
	messagesReceived, bytesReceived, framesReceived atomic.Uint64
	connects, connectFailures, disconnects          atomic.Uint64
	badFrames, handshakesRefused                    atomic.Uint64
}

func (c *counters) snapshot() transport.Counters {
	return transport.Counters{
		MessagesSent: c.messagesSent.Load(), BytesSent: c.bytesSent.Load(), FramesSent: c.framesSent.Load(),
		MessagesRefused:  c.messagesRefused.Load(),
		MessagesReceived: c.messagesReceived.Load(), BytesReceived: c.bytesReceived.Load(), FramesReceived: c.framesReceived.Load(),
		Connects: c.connects.Load(), ConnectFailures: c.connectFailures.Load(), Disconnects: c.disconnects.Load(),
		BadFrames: c.badFrames.Load(), HandshakesRefused: c.handshakesRefused.Load(),
	}
}
