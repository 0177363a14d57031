package slowfollower

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

const (
	busyPause  = time.Millisecond      // before a command that was refused as busy is sent again
	errorPause = 10 * time.Millisecond // after any other failure
)

// load keeps a fixed number of commands in flight.
type load struct {
	accepted, busy, failures atomic.Uint64
	stopping                 atomic.Bool
	clients                  sync.WaitGroup // one for each that has not ended
}

// client is one command in flight. From the call until its completion it belongs to the engine.
type client struct {
	load    *load
	leader  *nodehost.Shard
	command []byte
}

func (l *load) start(leaders []*nodehost.Shard, inFlight, payload int) {
	l.clients.Add(inFlight)
	for i := range inFlight {
		c := &client{load: l, leader: leaders[i%len(leaders)], command: make([]byte, payload)}
		c.send()
	}
}

func (c *client) send() {
	if err := c.leader.ProposeAsync(c.command, c.done); err != nil {
		c.failed(err)
	}
}

func (c *client) done(_ rsm.Result, err error) {
	if err != nil {
		c.failed(err)
		return
	}
	c.load.accepted.Add(1)
	if c.load.stopping.Load() {
		c.load.clients.Done()
		return
	}
	c.send()
}

// failed tries again after a pause, on a goroutine of its own: this one may be the engine's.
func (c *client) failed(err error) {
	pause := errorPause
	if errors.Is(err, nodehost.ErrBusy) && !nodehost.MaybeApplied(err) {
		pause = busyPause
		c.load.busy.Add(1)
	} else {
		c.load.failures.Add(1)
	}
	time.AfterFunc(pause, func() {
		if c.load.stopping.Load() {
			c.load.clients.Done()
			return
		}
		c.send()
	})
}

// stop waits until every client has its last answer.
func (l *load) stop() {
	l.stopping.Store(true)
	l.clients.Wait()
}

// tally counts commands and hashes them in the order of the log, so that two replicas can be compared.
type tally struct{ count, hash atomic.Uint64 }

// Update implements rsm.StateMachine.
func (t *tally) Update(entries []rsm.Entry) error {
	hash := t.hash.Load()
	for i := range entries {
		hash = (hash ^ entries[i].Index) * 0x9e3779b97f4a7c15
		hash ^= hash >> 29
	}
	t.hash.Store(hash)
	t.count.Add(uint64(len(entries)))
	return nil
}

// Lookup implements rsm.StateMachine.
func (t *tally) Lookup(any) (any, error) { return t.count.Load(), nil }

// Close implements rsm.StateMachine.
func (t *tally) Close() error { return nil }
