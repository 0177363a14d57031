package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/peers/window"
)

// requestTimeout is the default of Flotilla.
const requestTimeout = 10 * time.Second

var errReads = errors.New("hashicorp: reads are not driven")

// pending is a request under way.
type pending struct {
	future raft.ApplyFuture
	done   func(benchmark.Outcome)
}

// end waits for the answer.
func (p pending) end() { p.done(outcomeOf(p.future.Error())) }

// caller issues the requests of one client.
type caller struct {
	raft   *raft.Raft
	window *window.Window[pending]
	done   func(benchmark.Outcome)
}

// Caller implements benchmark.Cluster.
func (c *cluster) Caller(host, _ int, done func(benchmark.Outcome)) benchmark.Caller {
	return &caller{raft: c.hosts[host].raft, window: c.window, done: done}
}

func (c *caller) ProposeAsync(command []byte) error {
	c.window.Add(pending{c.raft.Apply(slices.Clone(command), requestTimeout), c.done})
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
