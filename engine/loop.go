package engine

import (
	"sync"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
)

// loop is the one goroutine body of the engine: it runs a worker whenever it is signalled or its own deadline is due,
// until stop is closed or the worker has ended itself. Everything that a worker does happens in RunOnce; everything about waiting happens here.
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
			if deadline = worker.RunOnce(now); signal.ended.Load() {
				return
			}
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
	e.paced = true
	for _, worker := range e.Workers() {
		e.spawn(worker)
	}
}

// spawn starts a worker's goroutine unless the engine is being stopped: Stopper.Stop holds the stopper's own mutex until the
// last worker has ended, so a step worker that let the apply pool grow then would wait for Stop, and Stop for it.
//
// Workers that call a user's code have groups of their own, for they may be inside it for ever.
func (e *Engine) spawn(worker Worker) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping {
		return
	}
	stop := e.stopper.ShouldStop()
	run := func() { loop(worker, e.options.Clock, stop) }
	switch worker.(type) {
	case *applyWorker, *jobWorker:
		e.applying.Go(run)
	case *eventQueue:
		e.listening.Go(run)
	default:
		e.stopper.RunWorker(run)
	}
}

// tellTheRest calls the listener with the events that its worker has left, and reports whether it has returned.
func (e *Engine) tellTheRest() bool {
	if !e.waitFor(&e.listening) {
		return false
	}
	e.listening.Go(func() { e.events.RunOnce(0) })
	return e.waitFor(&e.listening)
}

// waitFor waits until every worker of a group has ended, for at most MaxStopWait, and reports whether all have. One that has not is
// inside a user's code that does not return; it ends when that does.
func (e *Engine) waitFor(group *sync.WaitGroup) bool {
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	timer := time.NewTimer(e.options.MaxStopWait)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
		return false
	}
}
