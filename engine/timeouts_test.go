package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
)

// setTimeouts changes the timeouts on a host and returns the outcome.
func (c *testCluster) setTimeouts(h *testHost, election, heartbeat time.Duration) error {
	c.t.Helper()
	var err error
	open := true
	h.replicas[1].SetTimeouts(election, heartbeat, func(e error) { err, open = e, false })
	c.until(time.Minute, "timeouts are changed", func() bool { return !open })
	return err
}

// Timeouts that are lowered on every running host make the next failover as quick as they say.
func TestTimeoutsChangeWhileAReplicaRuns(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	for _, interval := range []time.Duration{time.Second, 100 * time.Millisecond} { // the interval first
		for _, h := range c.hosts {
			if err := c.setTimeouts(h, interval, 10*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, term := leader.replicas[1].Leader()
	c.run(5 * time.Second)
	if now, later := leader.replicas[1].Leader(); later != term {
		t.Errorf("replica %d leads term %d, it was term %d before the timeouts fell", now, later, term)
	}
	c.cutOff(leader, true)
	begin := c.now
	c.until(time.Second, "another one leads", func() bool {
		found := c.leader(1)
		return found != nil && found != leader
	})
	if took := time.Duration(c.now - begin); took > 400*time.Millisecond {
		t.Errorf("the failover took %v with a timeout of 100 to 200 ms", took)
	}
	if err := c.setTimeouts(leader, time.Second, time.Second); !errors.Is(err, engine.ErrInvalidOptions) {
		t.Errorf("an interval as long as the timeout: %v", err)
	}
}
