package engine

import (
	"time"

	"github.com/flotilla-raft/flotilla/raft"
)

// WatchStorage looks whether the log store stalls, or does no more, and has all step workers see it. Every turn of one looks too: this
// is for a host on which nothing is due for long. Safe for concurrent use.
func (e *Engine) WatchStorage() {
	before := e.stalled.Load()
	e.storageState(e.options.Clock.Now())
	if e.stalled.Load() == before {
		return
	}
	for _, w := range e.workers {
		w.sig.set()
	}
}

// StorageStalled reports whether a write has taken longer than Options.MaxStall when that was looked at last.
func (e *Engine) StorageStalled() bool { return e.stalled.Load() }

// oldestWrite returns how long the oldest write under way has taken so far, 0 if none is under way.
func (e *Engine) oldestWrite(now raft.Instant) time.Duration {
	oldest := raft.Instant(e.writer.oldest.Load())
	if oldest == 0 {
		return 0
	}
	return time.Duration(max(0, now-oldest))
}
