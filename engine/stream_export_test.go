package engine

// StreamsUnderWay counts the snapshots that are being sent or received here. For tests that drive the workers by hand.
func (e *Engine) StreamsUnderWay() int {
	n := len(e.sender.streams)
	for _, r := range e.receivers {
		n += len(r.streams)
	}
	return n
}
