package nodehost

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/rsm"
)

// ProposeBatch queues commands, which keep their order in the log, though those of others may come between them. Unless it
// returns an error, after which none was applied, done is called exactly once, on an engine goroutine: with the results in the
// order of the commands, or with an error if any command was not surely applied. A batch is no transaction: MaybeApplied is
// true of that error unless all commands surely had no effect, and then a part of them may be applied, earlier ones or later ones.
func (s *Shard) ProposeBatch(commands [][]byte, done func([]rsm.Result, error)) error {
	if len(commands) == 0 {
		return ErrEmptyBatch
	}
	limit := s.host.config.MaxCommandBytes
	for i, command := range commands {
		if len(command) > limit {
			return fmt.Errorf("%w: shard %d: command %d has %d bytes, accepted are up to %d", ErrTooLarge, s.ID(), i, len(command), limit)
		}
	}
	call := &batchCall{done: done, results: make([]rsm.Result, len(commands)), errs: make([]error, len(commands))}
	call.remaining.Store(int64(len(commands)))
	for i, command := range commands {
		err := s.replica.Propose(command, 0, func(result rsm.Result, err error) { call.answer(i, result, err) })
		switch {
		case err == nil:
		case i == 0:
			return err
		default:
			// The rest is not tried: a later command must not be applied where an earlier one was refused.
			call.refuse(i, err)
			return nil
		}
	}
	return nil
}

// batchCall collects the answers to the commands of one ProposeBatch. Each has its own place in the slices; whoever counts
// remaining down to 0 sees them all and calls done.
type batchCall struct {
	done      func([]rsm.Result, error)
	results   []rsm.Result
	errs      []error
	remaining atomic.Int64
}

func (c *batchCall) answer(i int, result rsm.Result, err error) {
	c.results[i], c.errs[i] = result, err
	c.settle(1)
}

// refuse ends the commands from i on with err.
func (c *batchCall) refuse(i int, err error) {
	for j := i; j < len(c.errs); j++ {
		c.errs[j] = err
	}
	c.settle(len(c.errs) - i)
}

func (c *batchCall) settle(n int) {
	if c.remaining.Add(-int64(n)) > 0 {
		return
	}
	if err := c.err(); err != nil {
		c.done(nil, err)
		return
	}
	c.done(c.results, nil)
}

// err joins the outcomes: the first error, marked as unknown if anything may have been applied.
func (c *batchCall) err() error {
	var first error
	failed, unknown := 0, false
	for i, err := range c.errs {
		if err == nil {
			continue
		}
		if first == nil {
			first = fmt.Errorf("command %d of %d: %w", i+1, len(c.errs), err)
		}
		failed++
		unknown = unknown || MaybeApplied(err)
	}
	if first != nil && !MaybeApplied(first) && (unknown || failed < len(c.errs)) {
		return errors.Join(first, ErrMaybeApplied)
	}
	return first
}
