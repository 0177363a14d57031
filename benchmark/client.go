package benchmark

import (
	"context"
	"errors"
	"time"
)

// errStale says that a read did not see a write that had been acknowledged before it began.
var errStale = errors.New("benchmark: a linearizable read missed an acknowledged write")

// client is one request in flight and the numbers of the commands that it sends. Between a call of its caller that returned nil
// and the call of done it belongs to the engine; at any other time to the goroutine that ran done, issued it or retries it. So
// it needs no lock: the engine's own hand-over orders the two.
type client struct {
	load     *load
	recorder *recorder
	caller   Caller
	shard    int
	host     int
	key      uint64
	random   uint64
	started  time.Duration // of the request in flight; the first try of it, if it was refused before
	sequence uint64        // of the write in flight or, during a read, of the next one; all below have ended
	reading  bool
	query    Query
	command  []byte
	unknown  []uint64 // the sequences whose outcome is unknown, ascending
}

// bind makes a caller for the host that the client calls.
func (c *client) bind() {
	done := c.done
	if c.load.open != nil {
		done = c.accepted
	}
	c.caller = c.load.cluster.Caller(c.host, c.shard, done)
}

// prepare draws the next request.
func (c *client) prepare() {
	if c.load.readBelow > 0 {
		c.random = mix(c.random)
		c.reading = c.random>>1 < c.load.readBelow
	}
	if !c.reading {
		writeCommand(c.command, c.key, c.query.Client, c.sequence)
		if c.load.claimInjection(c.sequence) {
			c.commitFault()
		}
	}
}

// commitFault loses or doubles the command that was just prepared.
func (c *client) commitFault() {
	if c.load.inject == InjectLose {
		c.sequence++
		writeCommand(c.command, c.key, c.query.Client, c.sequence)
		return
	}
	c.load.pending.Add(1)
	c.load.left.Add(1)
	second := c.load.cluster.Caller(c.host, c.shard, func(Outcome) { c.load.ended() })
	if c.load.blocking {
		second.Propose(context.Background(), c.command)
		c.load.ended()
	} else if err := second.ProposeAsync(c.command); err != nil {
		c.load.ended()
		c.load.injected.Store(false) // refused: some other client may commit it
	}
}

// issue sends the prepared request, and goes on with the next as long as the engine answers at once, but not for ever: this may
// be an engine's goroutine, or the one that starts the clients.
func (c *client) issue() {
	for range maxAnsweredAtOnce {
		if !c.reading {
			if err := c.caller.ProposeAsync(c.command); err != nil {
				c.retry(Outcome{Err: err})
			}
			return
		}
		answered, err := c.caller.ReadAsync(&c.query)
		if err != nil {
			c.retry(Outcome{Err: err})
			return
		}
		if !answered {
			return
		}
		if !c.succeed() {
			c.load.ended()
			return
		}
	}
	c.load.runners.add(c)
}

// done is the callback of every request of the client.
func (c *client) done(outcome Outcome) {
	if outcome.Err != nil {
		c.retry(outcome)
		return
	}
	if !c.succeed() {
		c.load.ended()
		return
	}
	c.issue()
}

// succeed records the request that ended and prepares the next. It is false if the load stops here.
func (c *client) succeed() bool {
	now := c.load.now() // the only reading of the clock for this request: its end is the start of the next
	c.recorder.record(c.reading, now-c.started)
	c.started = now
	if !c.reading {
		c.sequence++
	} else if c.query.Next < c.sequence && len(c.unknown) == 0 {
		c.load.stale.Add(1)
		c.load.failed(Outcome{Err: errStale})
	}
	if c.load.stopping.Load() {
		return false
	}
	c.prepare()
	return true
}

// retry counts a failure and leaves the rest to the retrier: this may be an engine's goroutine, and it must not wait.
func (c *client) retry(outcome Outcome) {
	pause := c.fail(outcome)
	c.load.retries.add(c, pause)
}

// fail counts a failure. A write whose outcome is unknown is given up, and the next one takes its turn; one that was surely not
// applied is sent again under its number.
func (c *client) fail(outcome Outcome) (pause time.Duration) {
	pause = c.load.failed(outcome)
	if outcome.MayBeApplied && !c.reading {
		c.unknown = append(c.unknown, c.sequence)
		c.sequence++
		c.started = c.load.now()
		c.prepare()
	}
	if pause > busyPause {
		c.host = -1
	}
	return pause
}

// follow finds the leader again after a failure that may have come from calling another host.
func (c *client) follow() {
	if c.host < 0 {
		c.host = c.load.cluster.Leader(c.shard)
		c.bind()
	}
}

// block is the life of a client that uses the blocking calls.
func (c *client) block() {
	defer c.load.ended()
	ctx := context.Background()
	if c.load.ownContext {
		own, cancel := context.WithCancel(ctx)
		defer cancel()
		ctx = own
	}
	c.started = c.load.now()
	c.prepare()
	for {
		var outcome Outcome
		if c.reading {
			outcome = c.caller.Read(ctx, &c.query)
		} else {
			outcome = c.caller.Propose(ctx, c.command)
		}
		if outcome.Err == nil {
			if !c.succeed() {
				return
			}
			continue
		}
		pause := c.fail(outcome)
		if c.load.stopping.Load() {
			return
		}
		time.Sleep(pause)
		c.follow()
	}
}
