package engine_test

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
)

// A replica with a long timeout is not touched before it, however often that is beyond the wheel's horizon, and one whose deadline
// moves later all the time only when it comes.
func TestALongDeadlineTouchesNobodyEarly(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.hosts[0].start(engine.ReplicaOptions{ShardID: 1, ReplicaID: 1, Members: c.members(), Raft: raft.Options{
		ElectionTimeout: 10 * time.Minute, HeartbeatInterval: 2 * time.Minute,
	}})
	c.run(time.Second)
	before := c.hosts[0].engine.Counters().ReplicasTouched
	c.run(100 * time.Second)
	if touched := c.hosts[0].engine.Counters().ReplicasTouched - before; touched > 1 {
		t.Errorf("touched %d times in 100 s before its first deadline", touched)
	}
}
