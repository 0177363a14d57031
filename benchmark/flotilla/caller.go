package flotilla

import (
	"context"
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
)

// caller issues the requests of one client. Its callbacks are made once, so that a request allocates nothing here.
type caller struct {
	replica *engine.Replica
	done    func(benchmark.Outcome)
	written engine.Completion
	read    engine.ReadCompletion
}

// Caller implements benchmark.Cluster.
func (c *cluster) Caller(host, shard int, done func(benchmark.Outcome)) benchmark.Caller {
	caller := &caller{replica: c.hosts[host].replicas[shard], done: done}
	caller.written = func(_ rsm.Result, err error) { done(outcomeOf(err)) }
	caller.read = func(_ any, err error) { done(outcomeOf(err)) }
	return caller
}

func (c *caller) ProposeAsync(command []byte) error {
	return refusal(c.replica.Propose(command, 0, c.written))
}

func (c *caller) ReadAsync(query *benchmark.Query) (answered bool, err error) {
	return false, refusal(c.replica.Read(query, c.read))
}

func (c *caller) Propose(_ context.Context, command []byte) benchmark.Outcome {
	ticket, err := c.replica.ProposeTicket(command, 0)
	if err != nil {
		return outcomeOf(refusal(err))
	}
	<-ticket.Done()
	_, err = ticket.Outcome()
	return outcomeOf(err)
}

func (c *caller) Read(_ context.Context, query *benchmark.Query) benchmark.Outcome {
	ticket, err := c.replica.ReadTicket()
	if err != nil {
		return outcomeOf(refusal(err))
	}
	<-ticket.Done()
	if err = ticket.Err(); err == nil {
		_, err = c.replica.Lookup(query)
	}
	return outcomeOf(err)
}

func outcomeOf(err error) benchmark.Outcome {
	if err == nil {
		return benchmark.Outcome{}
	}
	return benchmark.Outcome{Err: refusal(err), MayBeApplied: engine.MaybeApplied(err)}
}

// refusal tells the harness what is backpressure.
func refusal(err error) error {
	if err != nil && (errors.Is(err, engine.ErrBusy) || errors.Is(err, engine.ErrTransferring)) {
		return fmt.Errorf("%w: %w", benchmark.ErrBusy, err)
	}
	return err
}
