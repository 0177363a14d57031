package dragonboat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/client"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/benchmark/peers/window"
)

// requestTimeout is the default of Flotilla.
const requestTimeout = 10 * time.Second

// pending is a request under way; query is nil for a write.
type pending struct {
	caller *caller
	state  *dragonboat.RequestState
	query  *benchmark.Query
}

// end waits for the answer.
func (p pending) end() { p.caller.done(p.outcome(<-p.state.ResultC())) }

// outcome answers the query of a read, and frees the request.
func (p pending) outcome(result dragonboat.RequestResult) benchmark.Outcome {
	outcome := outcomeOf(&result)
	if outcome.Err == nil && p.query != nil {
		_, outcome.Err = p.caller.host.ReadLocalNode(p.state, p.query)
	}
	p.state.Release()
	return outcome
}

// caller issues the requests of one client.
type caller struct {
	host    *dragonboat.NodeHost
	session *client.Session
	shard   uint64
	window  *window.Window[pending]
	done    func(benchmark.Outcome)
}

// Caller implements benchmark.Cluster.
func (c *cluster) Caller(host, shard int, done func(benchmark.Outcome)) benchmark.Caller {
	id := uint64(shard + 1)
	return &caller{host: c.hosts[host], session: c.hosts[host].GetNoOPSession(id), shard: id, window: c.windows[shard], done: done}
}

func (c *caller) ProposeAsync(command []byte) error {
	state, err := c.host.Propose(c.session, command, requestTimeout)
	if err != nil {
		return refusal(err)
	}
	c.window.Add(pending{c, state, nil})
	return nil
}

func (c *caller) ReadAsync(query *benchmark.Query) (answered bool, err error) {
	state, err := c.host.ReadIndex(c.shard, requestTimeout)
	if err != nil {
		return false, refusal(err)
	}
	c.window.Add(pending{c, state, query})
	return false, nil
}

func (c *caller) Propose(ctx context.Context, command []byte) benchmark.Outcome {
	state, err := c.host.Propose(c.session, command, requestTimeout)
	if err != nil {
		return benchmark.Outcome{Err: refusal(err)}
	}
	return c.await(ctx, pending{c, state, nil})
}

func (c *caller) Read(ctx context.Context, query *benchmark.Query) benchmark.Outcome {
	state, err := c.host.ReadIndex(c.shard, requestTimeout)
	if err != nil {
		return benchmark.Outcome{Err: refusal(err)}
	}
	return c.await(ctx, pending{c, state, query})
}

func (c *caller) await(ctx context.Context, p pending) benchmark.Outcome {
	if ctx.Done() == nil {
		return p.outcome(<-p.state.ResultC())
	}
	select {
	case result := <-p.state.ResultC():
		return p.outcome(result)
	case <-ctx.Done():
		return benchmark.Outcome{Err: context.Cause(ctx), MayBeApplied: p.query == nil}
	}
}

// refusal tells the harness which errors ask to slow down.
func refusal(err error) error {
	if errors.Is(err, dragonboat.ErrSystemBusy) || errors.Is(err, dragonboat.ErrShardNotReady) {
		return fmt.Errorf("%w: %w", benchmark.ErrBusy, err)
	}
	return err
}

var errDropped = fmt.Errorf("%w: %w", benchmark.ErrBusy, dragonboat.ErrShardNotReady)

// outcomeOf translates how a request ended. One that was dropped did not get into the log.
func outcomeOf(result *dragonboat.RequestResult) benchmark.Outcome {
	switch {
	case result.Completed():
		return benchmark.Outcome{}
	case result.Dropped():
		return benchmark.Outcome{Err: errDropped}
	case result.Timeout():
		return benchmark.Outcome{Err: dragonboat.ErrTimeout, MayBeApplied: true}
	case result.Rejected():
		return benchmark.Outcome{Err: dragonboat.ErrRejected, MayBeApplied: true}
	case result.Aborted():
		return benchmark.Outcome{Err: dragonboat.ErrAborted, MayBeApplied: true}
	default:
		return benchmark.Outcome{Err: dragonboat.ErrClosed, MayBeApplied: true}
	}
}
