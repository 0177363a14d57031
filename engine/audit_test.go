package engine_test

import (
	"errors"
	"hash/crc64"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
)

const auditInterval = 2 * time.Second

// summed is a state machine with a checksum. From the command that it takes wrongly on it differs from the others.
type summed struct {
	recorder
	sum    uint64
	misled string
}

func (m *summed) Update(entries []rsm.Entry) error {
	for i := range entries {
		m.sum = crc64.Update(m.sum, crc64.MakeTable(crc64.ISO), entries[i].Command)
		if m.misled != "" && string(entries[i].Command) == m.misled {
			m.sum++
		}
	}
	return m.recorder.Update(entries)
}

func (m *summed) Checksum() (uint64, error) { return m.sum, nil }

// newAuditedCluster starts shard 1, with audits, on machines that each take another command wrongly, or none.
func newAuditedCluster(t *testing.T, misled ...string) *testCluster {
	c := newTestCluster(t, len(misled), nil)
	for i, h := range c.hosts {
		h.startAudited(uint64(i+1), misled[i])
	}
	c.until(time.Second, "started", func() bool {
		for _, h := range c.hosts {
			if h.replicas[1] == nil {
				return false
			}
		}
		return true
	})
	return c
}

func (h *testHost) startAudited(replica uint64, misled string) {
	options := engine.ReplicaOptions{ShardID: 1, ReplicaID: replica, Members: h.cluster.members(), Audit: auditInterval}
	h.engine.StartReplica(options, func(uint64, uint64) (rsm.StateMachine, error) { return &summed{misled: misled}, nil },
		func(r *engine.Replica, err error) {
			if err != nil {
				h.cluster.t.Errorf("start: %v", err)
			}
			h.replicas[1] = r
		})
}

// found returns who was reported, of events of a kind.
func (c *testCluster) found(kind engine.EventKind) (replicas []uint64, last error) {
	for _, event := range c.events {
		if event.Kind == kind {
			replicas, last = append(replicas, event.ReplicaID), event.Err
		}
	}
	return replicas, last
}

// mustPropose proposes until it is taken: by whom does not matter here.
func (c *testCluster) mustPropose(command string) {
	c.t.Helper()
	for range 20 {
		leader := c.waitLeader(1)
		if _, err := c.propose(leader, 1, command); err == nil {
			return
		}
		c.run(100 * time.Millisecond)
	}
	c.t.Fatalf("%s is not taken", command)
}

// T-43: a replica whose state machine does something else, leader or follower, is quarantined and reported within the interval. The others go on.
func TestADivergedReplicaIsFound(t *testing.T) {
	for wrong := range 3 {
		misled := []string{"", "", ""}
		misled[wrong] = "fateful"
		c := newAuditedCluster(t, misled...)
		c.mustPropose("harmless")
		c.run(2 * auditInterval)
		if replicas, err := c.found(engine.EventReplicaQuarantined); len(replicas) > 0 {
			t.Fatalf("replicas %v are quarantined although all are equal: %v", replicas, err)
		}
		c.mustPropose("fateful")
		began := c.now
		c.until(auditInterval+500*time.Millisecond, "the diverged replica is quarantined", func() bool {
			replicas, _ := c.found(engine.EventReplicaQuarantined)
			return len(replicas) > 0
		})
		t.Logf("replica %d was found after %v", wrong+1, time.Duration(c.now-began))
		c.mustPropose("after it")
		c.run(3 * auditInterval)
		replicas, err := c.found(engine.EventReplicaQuarantined)
		if len(replicas) != 1 || replicas[0] != uint64(wrong+1) || !errors.Is(err, rsm.ErrDiverged) || !errors.Is(err, engine.ErrQuarantined) {
			t.Fatalf("replicas %v are quarantined, want %d: %v", replicas, wrong+1, err)
		}
		if c.leader(1) == c.hosts[wrong] {
			t.Fatal("the diverged replica leads")
		}
	}
}

// When no majority agrees nobody is taken out of service, but it is said.
func TestReplicasThatAllDifferAreReported(t *testing.T) {
	c := newAuditedCluster(t, "one", "two", "three")
	for _, command := range []string{"one", "two", "three"} {
		c.mustPropose(command)
	}
	c.until(2*auditInterval, "it is reported", func() bool {
		replicas, _ := c.found(engine.EventAuditUndecided)
		return len(replicas) == 3
	})
	if replicas, err := c.found(engine.EventReplicaQuarantined); len(replicas) > 0 {
		t.Fatalf("replicas %v are quarantined: %v", replicas, err)
	}
}

// A shard at rest makes no audits: nothing is written once the last command is covered.
func TestAShardAtRestIsNotAudited(t *testing.T) {
	c := newAuditedCluster(t, "", "", "")
	c.mustPropose("the last")
	c.run(2 * auditInterval)
	leader := c.waitLeader(1)
	before := c.lastIndex(leader)
	c.run(10 * auditInterval)
	if after := c.lastIndex(leader); after != before || before < 6 {
		t.Errorf("the log ended at %d and ends at %d; a no-op, a command, a point and three sums make 6", before, after)
	}
}

func (c *testCluster) lastIndex(h *testHost) (index uint64) {
	known := false
	h.replicas[1].Status(func(s raft.Status, _ error) { index, known = s.LastIndex, true })
	c.until(time.Second, "status", func() bool { return known })
	return index
}

// The leader is lost right after the command: the next one makes the audit.
func TestAnAuditSurvivesItsLeader(t *testing.T) {
	c := newAuditedCluster(t, "", "", "")
	c.mustPropose("fine")
	c.run(2 * auditInterval)
	leader := c.waitLeader(1)
	c.mustPropose("more")
	points := c.lastIndex(leader)
	stopped := false
	leader.engine.StopReplica(leader.replicas[1], func(error) { stopped = true })
	c.until(10*time.Second, "stopped", func() bool { return stopped })
	delete(leader.replicas, 1)
	next := c.waitLeader(1)
	c.run(2 * auditInterval)
	if last := c.lastIndex(next); last < points+4 { // no-op, point, two sums
		t.Errorf("the log ended at %d and ends at %d under the next leader", points, last)
	}
}
