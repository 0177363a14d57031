package transport

import "sync/atomic"

// LiveCounters is Counters as an implementation keeps them: each field is added to by itself.
type LiveCounters struct {
	MessagesSent, BytesSent, FramesSent             atomic.Uint64
	MessagesRefused                                 atomic.Uint64
	MessagesReceived, BytesReceived, FramesReceived atomic.Uint64
	Connects, ConnectFailures, Disconnects          atomic.Uint64
	BadFrames, HandshakesRefused                    atomic.Uint64
}

// Load returns the current totals. Fields are read one by one, so that they may stem from slightly different moments.
func (c *LiveCounters) Load() Counters {
	return Counters{
		MessagesSent: c.MessagesSent.Load(), BytesSent: c.BytesSent.Load(), FramesSent: c.FramesSent.Load(),
		MessagesRefused:  c.MessagesRefused.Load(),
		MessagesReceived: c.MessagesReceived.Load(), BytesReceived: c.BytesReceived.Load(), FramesReceived: c.FramesReceived.Load(),
		Connects: c.Connects.Load(), ConnectFailures: c.ConnectFailures.Load(), Disconnects: c.Disconnects.Load(),
		BadFrames: c.BadFrames.Load(), HandshakesRefused: c.HandshakesRefused.Load(),
	}
}
