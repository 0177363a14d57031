package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// Entries of audits pass the proposals that wait in the queue. One that waited behind a lost forward used to end as late as the audits that had
// passed it and were lost, too: up to a request timeout after its own deadline.
func TestAuditsDelayNoDeadline(t *testing.T) {
	const timeout = 2 * time.Second
	c := newTestCluster(t, 3, func(o *engine.Options) { o.RequestTimeout, o.MaxQueueDelay = timeout, time.Minute })
	for i, h := range c.hosts {
		h.engine.StartReplica(engine.ReplicaOptions{ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members(), Audit: 200 * time.Millisecond},
			func(uint64, uint64) (rsm.StateMachine, error) { return &summed{}, nil }, func(r *engine.Replica, err error) {
				if err != nil {
					t.Error(err)
				}
				h.replicas[1] = r
			})
	}
	leader := c.waitLeader(1)
	c.mustPropose("first")
	follower := c.hosts[0]
	if follower == leader {
		follower = c.hosts[1]
	}
	c.until(time.Second, "the follower knows the leader", func() bool { id, _ := follower.replicas[1].Leader(); return id != 0 })
	sums := 0
	leader.wire.Handler = &forgetfulWire{Handler: leader.wire.Handler, loses: func(m *raftpb.Message) bool {
		if m.Type != raftpb.MessagePropose {
			return false
		}
		if m.Batches[0].Kind() == raftpb.KindAudit {
			sums++
		}
		return true
	}}
	open := 0
	ask := func(command string) {
		asked := c.now
		open++
		if err := follower.replicas[1].Propose([]byte(command), 0, func(_ rsm.Result, err error) {
			open--
			if took := time.Duration(c.now - asked); !errors.Is(err, engine.ErrTimeout) || took > timeout+timeout/10 {
				t.Errorf("%s ended with %v after %v", command, err, took)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	for step := range 80 {
		switch step {
		case 0:
			ask("lost")
		case 6:
			ask("behind it")
		case 41: // the first one has ended, and with so many beside it the second is taken
			for range 40 {
				ask("beside that")
			}
		}
		if err := leader.replicas[1].Propose([]byte("more"), 0, func(rsm.Result, error) {}); err != nil {
			t.Fatal(err)
		}
		c.run(50 * time.Millisecond)
	}
	c.until(2*timeout, "all have ended", func() bool { return open == 0 })
	if sums < 3 {
		t.Errorf("%d sums were lost", sums)
	}
}
