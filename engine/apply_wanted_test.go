package engine_test

import (
	"strings"
	"testing"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
)

// What a core holds back, because its state machine has enough to do, is handed over when that has gone on, not at the next timer: the clock
// stands still here (R29).
func TestWhatIsHeldBackFollowsWhatWasApplied(t *testing.T) {
	const commands = 40
	c := newTestCluster(t, 1, nil)
	c.startWith(1, raft.Options{MaxPinnedBytes: 1000, MaxApplyBytes: 200})
	h := c.waitLeader(1)
	standStill := func() {
		for c.step() {
		}
	}
	standStill()
	h.held = func(worker engine.Worker) bool { return strings.HasPrefix(worker.Name(), "apply") }
	var o offered
	for range commands {
		c.offer(h, 1, make([]byte, 100), &o)
		standStill() // so that each is a batch of its own
	}
	if o.accepted != commands || o.applied != 0 {
		t.Fatalf("%+v while nothing is applied", o)
	}
	h.held = nil
	standStill()
	if o.applied != commands {
		t.Errorf("%+v of %d commands", o, commands)
	}
}
