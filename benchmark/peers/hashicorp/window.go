package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// requestTimeout is the default of Flotilla.
const requestTimeout = 10 * time.Second

var errReads = errors.New("hashicorp: reads are not driven")

// window holds the requests that are under way, oldest first, and ends them in that order.
type window struct {
	mu      sync.Mutex
	wake    sync.Cond
	pending []pending
	closed  bool
	ended   chan struct{}
}

type pending struct {
	future raft.ApplyFuture
	done   func(benchmark.Outcome)
}

func newWindow() *window {
	w := &window{ended: make(chan struct{})}
	w.wake.L = &w.mu
	go w.run()
	return w
}

func (w *window) add(p pending) {
	w.mu.Lock()
	w.pending = append(w.pending, p)
	first := len(w.pending) == 1
	w.mu.Unlock()
	if first {
		w.wake.Signal()
	}
}

// close ends the goroutine once nothing is pending. The hosts are shut down before, so that everything is answered.
func (w *window) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wake.Signal()
	<-w.ended
}

func (w *window) run() {
	defer close(w.ended)
	var taken []pending
	for {
		w.mu.Lock()
		for len(w.pending) == 0 && !w.closed {
			w.wake.Wait()
		}
		if len(w.pending) == 0 {
			w.mu.Unlock()
			return
		}
		taken, w.pending = w.pending, taken[:0]
		w.mu.Unlock()
		for i := range taken {
			taken[i].done(outcomeOf(taken[i].future.Error()))
			taken[i] = pending{}
		}
	}
}

// caller issues the requests of one client.
type caller struct {
	raft   *raft.Raft
	window *window
	done   func(benchmark.Outcome)
}

// Caller implements benchmark.Cluster.
func (c *cluster) Caller(host, _ int, done func(benchmark.Outcome)) benchmark.Caller {
	return &caller{raft: c.hosts[host].raft, window: c.window, done: done}
}

func (c *caller) ProposeAsync(command []byte) error {
	c.window.add(pending{c.raft.Apply(slices.Clone(command), requestTimeout), c.done})
	return nil
}

func (c *caller) Propose(_ context.Context, command []byte) benchmark.Outcome {
	return outcomeOf(c.raft.Apply(slices.Clone(command), requestTimeout).Error())
}

func (c *caller) ReadAsync(*benchmark.Query) (bool, error) { return false, errReads }

func (c *caller) Read(context.Context, *benchmark.Query) benchmark.Outcome {
	return benchmark.Outcome{Err: errReads}
}

func outcomeOf(err error) benchmark.Outcome {
	switch {
	case err == nil:
		return benchmark.Outcome{}
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return benchmark.Outcome{Err: fmt.Errorf("%w: %w", benchmark.ErrBusy, err)}
	default:
		return benchmark.Outcome{Err: err, MayBeApplied: true}
	}
}
