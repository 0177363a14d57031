package engine_test

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
	"github.com/flotilla-raft/flotilla/rsm"
)

// orderedLog notes the order in which groups reach the store: true for those with content.
type orderedLog struct {
	*modellog.Log
	groups []bool
}

func (l *orderedLog) Commit(groups []logdb.Group, done func(error)) {
	for _, group := range groups {
		l.groups = append(l.groups, !group.Empty())
	}
	l.Log.Commit(groups, done)
}

// The barrier of a stop goes to the log writer behind the updates of the iteration that stopped the replica, its own last ones
// among them: in front of them it would let the shard be started again before they are written.
func TestTheBarrierOfAStopIsBehindTheUpdatesOfItsIteration(t *testing.T) {
	store := &orderedLog{Log: modellog.New(modellog.Options{Automatic: true})}
	c := newTestCluster(t, 1, func(o *engine.Options) { o.LogDB = store })
	c.start(1, 2)
	h := c.waitLeader(1)
	c.waitLeader(2)
	c.run(time.Second)
	store.groups = nil
	stopped := false
	h.engine.StopReplica(h.replicas[1], func(error) { stopped = true })
	if err := h.replicas[2].Propose([]byte("x"), 0, func(rsm.Result, error) {}); err != nil {
		t.Fatal(err)
	}
	c.until(time.Second, "stopped", func() bool { return stopped })
	if len(store.groups) < 2 || !store.groups[0] || store.groups[1] {
		t.Errorf("groups with content: %v, want the updates and then the barrier", store.groups)
	}
}
