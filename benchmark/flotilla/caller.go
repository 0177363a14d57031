package flotilla

import (
	"context"
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// caller issues the requests of one client. Its callbacks are made once, so that a request allocates nothing here.
type caller struct {
	shard   *nodehost.Shard
	written func(rsm.Result, error)
	read    func(any, error)
}

// Caller implements benchmark.Cluster.
func (c *cluster) Caller(host, shard int, done func(benchmark.Outcome)) benchmark.Caller {
	return &caller{
		shard:   c.hosts[host].shards[shard],
		written: func(_ rsm.Result, err error) { done(outcomeOf(err)) },
		read:    func(_ any, err error) { done(outcomeOf(err)) },
	}
}

func (c *caller) ProposeAsync(command []byte) error {
	return backpressure(c.shard.ProposeAsync(command, c.written))
}

func (c *caller) ReadAsync(query *benchmark.Query) (answered bool, err error) {
	return false, backpressure(c.shard.ReadAsync(query, c.read))
}

func (c *caller) Propose(ctx context.Context, command []byte) benchmark.Outcome {
	_, err := c.shard.Propose(ctx, command)
	return outcomeOf(err)
}

func (c *caller) Read(ctx context.Context, query *benchmark.Query) benchmark.Outcome {
	_, err := c.shard.Read(ctx, query)
	return outcomeOf(err)
}

func outcomeOf(err error) benchmark.Outcome {
	if err == nil {
		return benchmark.Outcome{}
	}
	return benchmark.Outcome{Err: backpressure(err), MayBeApplied: nodehost.MaybeApplied(err)}
}

// errBusy is what the most frequent refusal becomes. It is made once, since an overloaded engine refuses millions a second.
var errBusy = fmt.Errorf("%w: %w", benchmark.ErrBusy, nodehost.ErrBusy)

// backpressure tells the harness which errors ask to slow down.
func backpressure(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nodehost.ErrBusy):
		return errBusy
	case errors.Is(err, nodehost.ErrTransferring):
		return fmt.Errorf("%w: %w", benchmark.ErrBusy, err)
	default:
		return err
	}
}
