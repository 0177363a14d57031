package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

func (h *testHost) startWitness(t *testing.T, shard, id uint64) {
	delete(h.replicas, shard)
	options := engine.ReplicaOptions{
		ShardID: shard, ReplicaID: id, Members: h.cluster.members(), Kinds: map[uint64]raftpb.MemberKind{3: raftpb.Witness},
	}
	h.engine.StartReplica(options, nil, func(r *engine.Replica, err error) {
		if err != nil {
			t.Errorf("start: %v", err)
		}
		h.replicas[shard] = r
	})
}

func startWithWitness(t *testing.T) *testCluster {
	c := newTestCluster(t, 3, nil)
	for i, h := range c.hosts[:2] {
		h.start(engine.ReplicaOptions{
			ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members(), Kinds: map[uint64]raftpb.MemberKind{3: raftpb.Witness},
		})
	}
	c.hosts[2].startWitness(t, 1, 3)
	return c
}

// headers returns how many batches the host's log store has of replica 3, and fails if one of them, but memberships, has a body.
func (h *testHost) headers(t *testing.T, last uint64) int {
	t.Helper()
	batches, err := h.log.Read(keyOf(1, 3), 1, last, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		if omitted := b.Flags()&raftpb.FlagBodyOmitted != 0; omitted == (b.Kind() == raftpb.KindMembership) {
			t.Errorf("%v: body omitted %t", b, omitted)
		}
	}
	return len(batches)
}

// TestAWitnessNeedsNoStateMachine: it holds headers, refuses what is asked of it, stands in for a data voter, is started again,
// and healed when its disk is lost.
func TestAWitnessNeedsNoStateMachine(t *testing.T) {
	c := startWithWitness(t)
	leader := c.waitLeader(1)
	witness := c.hosts[2]
	if leader == witness {
		t.Fatal("a witness leads")
	}
	if _, err := c.propose(leader, 1, "a"); err != nil {
		t.Fatal(err)
	}
	c.run(time.Second)
	last := leader.replicas[1].Applied()
	if n := witness.headers(t, last); n < 3 {
		t.Errorf("%d batches", n)
	}
	r := witness.replicas[1]
	if err := r.Propose([]byte("x"), 0, nil); !errors.Is(err, engine.ErrWitness) {
		t.Errorf("propose: %v", err)
	}
	if err := r.Read(nil, nil); !errors.Is(err, engine.ErrWitness) {
		t.Errorf("read: %v", err)
	}
	if _, err := r.ReadTicket(); !errors.Is(err, engine.ErrWitness) {
		t.Errorf("read: %v", err)
	}
	if _, err := r.Lookup(nil); !errors.Is(err, engine.ErrWitness) {
		t.Errorf("lookup: %v", err)
	}

	other := c.hosts[0]
	if other == leader {
		other = c.hosts[1]
	}
	_ = other.transport.Close()
	other.workers, other.deadlines = nil, nil
	c.run(2 * time.Second)
	if _, err := c.propose(leader, 1, "b"); err != nil {
		t.Fatalf("propose without the other data voter: %v", err)
	}
	if !c.sawEvent(engine.EventWitnessStandsIn, leader.replicas[1].ReplicaID()) {
		t.Error("no event")
	}

	witness.crash(nil)
	witness.startWitness(t, 1, 3)
	c.until(30*time.Second, "the witness is back", func() bool { return witness.replicas[1] != nil })
	if _, err := c.propose(leader, 1, "c"); err != nil {
		t.Fatalf("propose after the witness was started again: %v", err)
	}
}

func TestAWipedWitnessIsHealed(t *testing.T) {
	c := startWithWitness(t)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "a"); err != nil {
		t.Fatal(err)
	}
	witness := c.hosts[2]
	witness.wipe(true)
	witness.crash(nil)
	witness.startWitness(t, 1, 3)
	c.until(30*time.Second, "healed", func() bool { return c.sawEvent(engine.EventReplicaHealed, 3) })
	last := leader.replicas[1].Applied()
	c.until(10*time.Second, "it has every header", func() bool {
		stored, err := witness.log.Load(keyOf(1, 3))
		return err == nil && stored.Last >= last
	})
	witness.headers(t, last)
	if err := witness.replicas[1].Propose([]byte("x"), 0, nil); !errors.Is(err, engine.ErrWitness) {
		t.Errorf("propose: %v", err)
	}
}

// TestTheOnlyCopyIsLost: the witness stood in for one data voter, then the other's disk is lost. The shard stops, with the error that
// says why, and goes on when the disk is put back.
func TestTheOnlyCopyIsLost(t *testing.T) {
	c := startWithWitness(t)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "a"); err != nil {
		t.Fatal(err)
	}
	c.run(time.Second)
	at := 0
	if c.hosts[0] == leader {
		at = 1
	}
	other, id := c.hosts[at], uint64(at+1)
	_ = other.transport.Close()
	other.workers, other.deadlines = nil, nil
	c.run(2 * time.Second)
	if _, err := c.propose(leader, 1, "b"); err != nil {
		t.Fatal(err)
	}
	log, promises := leader.log, leader.promises
	leaderID := leader.replicas[1].ReplicaID()
	start := func(h *testHost, id uint64) {
		h.start(engine.ReplicaOptions{
			ShardID: 1, ReplicaID: id, Members: c.members(), Kinds: map[uint64]raftpb.MemberKind{3: raftpb.Witness},
		})
	}
	leader.wipe(true)
	leader.crash(nil)
	start(leader, leaderID)
	other.crash(nil)
	start(other, id)
	c.until(60*time.Second, "the loss is known", func() bool { return c.sawEvent(engine.EventDataLost, id) })
	if _, err := c.propose(other, 1, "c"); !errors.Is(err, engine.ErrDataLost) || engine.MaybeApplied(err) {
		t.Errorf("propose: %v", err)
	}

	leader.log, leader.promises = log, promises
	leader.crash(nil)
	start(leader, leaderID)
	// The other one may lead, too, when it has pulled what it lacks.
	c.until(60*time.Second, "it goes on", func() bool { return c.leader(1) != nil })
	if _, err := c.propose(c.leader(1), 1, "d"); err != nil {
		t.Fatal(err)
	}
	c.until(30*time.Second, "everything is there", func() bool { return len(other.machines[1].commands) == 3 })
}

// A witness's log does not grow for ever, and what is left of it serves its next start, its vote, and a data voter's absence.
func TestAWitnessLetsItsLogGo(t *testing.T) {
	c := startWithWitness(t)
	leader := c.waitLeader(1)
	witness := c.hosts[2]
	fill := func(n int) {
		t.Helper()
		open := n
		for range n {
			if err := leader.replicas[1].Propose([]byte("x"), 0, func(_ rsm.Result, err error) {
				if open--; err != nil {
					t.Error(err)
				}
			}); err != nil {
				t.Fatal(err)
			}
			c.step()
		}
		c.until(time.Minute, "all applied", func() bool { return open == 0 })
	}
	for range 12 {
		fill(1000)
	}
	c.run(time.Second)
	stored := witness.stored(t, 1, 3)
	if behind := stored.Last - stored.Compacted; stored.Last < 12_000 || behind < engine.DefaultKeepEntries || behind > 3*engine.DefaultKeepEntries {
		t.Errorf("its log is from %d to %d", stored.Compacted, stored.Last)
	}
	stopped := false
	witness.engine.StopReplica(witness.replicas[1], func(error) { stopped = true })
	c.until(time.Minute, "stopped", func() bool { return stopped })
	witness.startWitness(t, 1, 3)
	c.until(time.Minute, "started", func() bool { return witness.replicas[1] != nil })
	fill(10)
	for _, h := range c.hosts[:2] { // the other data voter is lost: the witness stands in for it
		if h != leader {
			h.engine.StopReplica(h.replicas[1], func(error) {})
		}
	}
	c.run(5 * time.Second)
	fill(10)
}
