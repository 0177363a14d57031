package engine

// StreamsUnderWay counts the snapshots that are being sent or received here. For tests that drive the workers by hand.
func (e *Engine) StreamsUnderWay() int {
	n := len(e.sender.streams)
	for _, r := range e.receivers {
		n += len(r.streams)
	}
	return n
}

// StreamBytesKept counts the bytes of views that are kept until their receivers confirm them. For tests that drive the workers by hand.
func (e *Engine) StreamBytesKept() (bytes int) {
	for _, stream := range e.sender.streams {
		if pipe, ok := stream.bytes.(*streamPipe); ok {
			for _, piece := range pipe.pieces {
				bytes += len(piece)
			}
		}
	}
	return bytes
}
