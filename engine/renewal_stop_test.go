package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
)

// wipedFollower starts a shard on three hosts, takes everything from a follower, and starts it again.
func wipedFollower(t *testing.T, c *testCluster) (h *testHost, id uint64) {
	t.Helper()
	c.start(1)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "a"); err != nil {
		t.Fatal(err)
	}
	at := 0
	for c.hosts[at] == leader {
		at++
	}
	h, id = c.hosts[at], uint64(at+1)
	h.wipe(true)
	h.crash(func(o *engine.Options) { o.MaxStopWait = 3 * time.Second })
	h.start(engine.ReplicaOptions{ShardID: 1, ReplicaID: id, Members: c.members()})
	return h, id
}

// Stopping a replica that cannot get through with its renewal, since its state machine does not return, once waited for ever, and Close
// with it.
func TestAReplicaThatIsHealedAndDoesNotStopIsReported(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	h, id := wipedFollower(t, c)
	h.held = func(worker engine.Worker) bool { return strings.HasPrefix(worker.Name(), "apply") }
	c.run(10 * time.Second)
	var answers []error
	began := c.now
	h.engine.StopReplica(h.replicas[1], func(err error) { answers = append(answers, err) })
	c.until(10*time.Second, "an answer", func() bool { return len(answers) > 0 })
	if took := time.Duration(c.now - began); !errors.Is(answers[0], engine.ErrStuck) || !strings.Contains(answers[0].Error(), "it is healed") ||
		took < 3*time.Second || took > 4*time.Second {
		t.Errorf("%v after %v", answers[0], took)
	}
	h.held = nil
	c.until(10*time.Second, "it has stopped", func() bool { return c.sawEvent(engine.EventReplicaStopped, id) })
	if len(answers) != 1 {
		t.Errorf("answered %d times", len(answers))
	}
	delete(h.replicas, 1)
	h.start(engine.ReplicaOptions{ShardID: 1, ReplicaID: id, Members: c.members()})
	c.until(30*time.Second, "it runs again, with everything", func() bool {
		return h.replicas[1] != nil && h.replicas[1].Applied() == c.leader(1).replicas[1].Applied()
	})
}

// Timeouts that were set while a replica runs stay in force when it is healed: nobody has started it again.
func TestTimeoutsOutliveHealing(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	h, id := wipedFollower(t, c)
	c.until(time.Second, "started", func() bool { return h.replicas[1] != nil })
	set := errors.New("open")
	h.replicas[1].SetTimeouts(7*time.Second, 500*time.Millisecond, func(err error) { set = err })
	c.until(60*time.Second, "healed", func() bool { return c.sawEvent(engine.EventReplicaHealed, id) })
	if set != nil {
		t.Fatal(set)
	}
	if s := c.status(h, 1); s.ElectionTimeout != 7*time.Second || s.HeartbeatInterval != 500*time.Millisecond {
		t.Errorf("timeouts %v and %v", s.ElectionTimeout, s.HeartbeatInterval)
	}
}
