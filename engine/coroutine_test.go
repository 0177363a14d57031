package engine_test

import (
	"iter"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
)

// coroutines run the workers that may stay inside a user's state machine beside the others, in one goroutine: each goes on at every read and
// write of a snapshot, and stands where the test lets it stand.
type coroutines struct {
	running map[engine.Worker]*coroutine
	current *coroutine
	order   []*coroutine // as they began
}

type coroutine struct {
	worker   engine.Worker
	next     func() (struct{}, bool)
	stop     func()
	yield    func(struct{}) bool
	over     bool
	deadline raft.Instant
	stands   func() bool // while it returns true the coroutine is not run
}

// newCoroutines prepares a host for it; beside is set by the host's next open.
func newCoroutines() *coroutines { return &coroutines{running: map[engine.Worker]*coroutine{}} }

// hand is Options.Yield: the one that runs lets the others have a turn.
func (c *coroutines) hand() (going bool) {
	self := c.current
	if self != nil && self.yield != nil && !self.over {
		self.over = !self.yield(struct{}{})
	}
	return self == nil || !self.over
}

// stand lets the coroutine that runs stand still while condition holds, as a user's code that does not return.
func (c *coroutines) stand(condition func() bool) {
	self := c.current
	self.stands = condition
	for condition() && !self.over {
		c.hand()
	}
	self.stands = nil
}

// run gives a worker a turn, if it is to have one, and reports whether it had.
func (c *coroutines) run(worker engine.Worker, now raft.Instant, due bool) (deadline raft.Instant, ran bool) {
	routine := c.running[worker]
	if routine == nil {
		if !due {
			return 0, false
		}
		routine = &coroutine{worker: worker}
		routine.next, routine.stop = iter.Pull(func(yield func(struct{}) bool) {
			routine.yield = yield
			routine.deadline = worker.RunOnce(now)
		})
		c.running[worker] = routine
		c.order = append(c.order, routine)
	}
	if routine.stands != nil && routine.stands() {
		return raft.Never, false
	}
	c.current = routine
	_, more := routine.next()
	c.current = nil
	if more {
		return raft.Never, true
	}
	delete(c.running, worker)
	return routine.deadline, true
}

// end lets what still runs come to its end.
func (c *coroutines) end() {
	for _, routine := range c.order {
		routine.stands = nil
		c.current = routine
		routine.stop()
	}
	c.current = nil
}
