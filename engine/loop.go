package engine

import (
	"time"

	"github.com/flotilla-raft/flotilla/raft"
)

// loop is the one goroutine body of the engine: it runs a worker whenever it is signalled or its own deadline is due,
// until stop is closed. Everything that a worker does happens in RunOnce; everything about waiting happens here.
func loop(worker Worker, clock Clock, stop <-chan struct{}) {
	signal := worker.signal()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	deadline := raft.Never
	for {
		now := clock.Now()
		if signal.ready() || deadline <= now {
			select {
			case <-stop:
				return
			default:
			}
			deadline = worker.RunOnce(now)
			continue
		}
		var due <-chan time.Time
		if deadline != raft.Never {
			timer.Reset(time.Duration(deadline - now))
			due = timer.C
		}
		select {
		case <-signal.wake:
		case <-due:
		case <-stop:
			return
		}
	}
}

// Start gives every worker its goroutine. Without Start the engine is driven by calling RunOnce on Workers.
func (e *Engine) Start() {
	e.apply.grow = e.spawn // before there is a worker to look at it
	for _, worker := range e.Workers() {
		e.spawn(worker)
	}
}

// spawn starts a worker's goroutine unless the engine is being stopped: Stopper.Stop holds the stopper's own mutex until the
// last worker has ended, so a step worker that let the apply pool grow then would wait for Stop, and Stop for it.
func (e *Engine) spawn(worker Worker) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.stopping {
		e.stopper.RunWorker(func() { loop(worker, e.options.Clock, e.stopper.ShouldStop()) })
	}
}
