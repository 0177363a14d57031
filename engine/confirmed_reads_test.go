package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
)

// A state machine that does not return holds its shard's reads up, and they go on being confirmed. How many wait for it is bounded, also
// after they have timed out: the rest is refused at once. They once piled up for as long as the state machine took.
func TestReadsThatWaitForAStateMachineAreBounded(t *testing.T) {
	const bound = 1024
	c := newTestCluster(t, 1, func(o *engine.Options) { o.RequestTimeout = 500 * time.Millisecond })
	c.start(1)
	h := c.waitLeader(1)
	h.held = func(worker engine.Worker) bool { return strings.HasPrefix(worker.Name(), "apply") }
	asked, served, busy, late := 0, 0, 0, 0
	read := func() {
		asked++
		err := h.replicas[1].Read(nil, func(_ any, err error) {
			switch {
			case err == nil:
				served++
			case errors.Is(err, engine.ErrBusy):
				busy++
			case errors.Is(err, engine.ErrTimeout):
				late++
			default:
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		c.run(time.Millisecond)
	}
	for range 2 * bound {
		read()
	}
	c.run(time.Second)
	if busy < bound-1 || late > bound+1 || served > 0 || busy+late != asked {
		t.Errorf("of %d reads %d were served, %d refused as busy, %d late", asked, served, busy, late)
	}
	h.held = nil
	c.run(time.Second)
	for range 10 {
		read()
	}
	c.run(time.Second)
	if served != 10 || busy+late+served != asked {
		t.Errorf("afterwards, of %d reads %d were served, %d refused as busy, %d late", asked, served, busy, late)
	}
}
