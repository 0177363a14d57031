package failover

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
)

// refusedPause is how long a client waits after a refusal that it cannot wait out otherwise.
const refusedPause = 2 * time.Millisecond

// client proposes to one shard through its own host, one command at a time.
type client struct {
	id      uint64
	shard   *nodehost.Shard
	watch   *watch
	machine *machine
	command []byte

	sequence, acknowledged, unknown uint64
}

// run goes on until the host stops or stopping is set.
func (c *client) run(ctx context.Context, stopping *atomic.Bool) {
	binary.LittleEndian.PutUint64(c.command, c.id)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for !stopping.Load() {
		leader, err := c.shard.WaitLeader(ctx)
		if err != nil {
			return
		}
		c.sequence++
		binary.LittleEndian.PutUint64(c.command[8:], c.sequence)
		// Without a context that can end: what was asked for is answered, or the end check could not know what to expect.
		if _, err = c.shard.Propose(context.Background(), c.command); err == nil {
			c.acknowledged++
			c.watch.accepted(wallClock(), leader)
			continue
		}
		if nodehost.MaybeApplied(err) {
			c.unknown++
		}
		if errors.Is(err, nodehost.ErrStopped) {
			return
		}
		c.watch.failed(err)
		pause.Reset(refusedPause)
		<-pause.C
	}
}

// fault says what the state machine has of this client that cannot be, empty if it may be right.
func (c *client) fault() string {
	applied := c.machine.applied(c.id)
	switch {
	case applied < c.acknowledged:
		return "acknowledged commands are lost"
	case applied > c.acknowledged+c.unknown:
		return "commands are applied that were refused, or twice"
	}
	return ""
}
