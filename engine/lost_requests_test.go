package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
)

// startOne starts one replica of a shard on the first host only.
func (c *testCluster) startOne(shard uint64) *engine.Replica {
	c.t.Helper()
	h := c.hosts[0]
	h.start(engine.ReplicaOptions{ShardID: shard, ReplicaID: 1, Members: c.members()})
	c.until(time.Second, "started", func() bool { return h.replicas[shard] != nil })
	return h.replicas[shard]
}

// A read that comes between the taking of the reads and that of the proposals finds the signal up and raises none: it has to be
// taken all the same. A caller that reads again when it is refused is such a one.
func TestAReadAskedAgainFromItsRefusalIsTaken(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	r := c.startOne(1) // one of three: no leader
	answers := 0
	var again func(any, error)
	again = func(_ any, err error) {
		if err == nil {
			t.Error("served without a leader")
		}
		if answers++; answers < 5 {
			if err := r.Read(nil, again); err != nil {
				t.Errorf("read: %v", err)
			}
		}
	}
	if err := r.Read(nil, again); err != nil {
		t.Fatal(err)
	}
	c.until(30*time.Second, "all five are answered", func() bool { return answers == 5 })
}

// When the proposals that wait run into their deadline, the reads that wait beside them are not lost.
func TestTheDeadlineOfProposalsLosesNoRead(t *testing.T) {
	c := newTestCluster(t, 1, func(o *engine.Options) {
		o.RequestTimeout = 300 * time.Millisecond
		o.MaxStall = time.Hour
	})
	c.start(1)
	h := c.waitLeader(1)
	r := h.replicas[1]
	if _, err := c.propose(h, 1, "before"); err != nil {
		t.Fatal(err)
	}
	h.log.SetAutomatic(false)
	expired := 0
	for range 2 { // one in flight, one behind it
		if err := r.Propose([]byte("x"), 0, func(_ rsm.Result, err error) {
			if errors.Is(err, engine.ErrTimeout) {
				expired++
			}
		}); err != nil {
			t.Fatal(err)
		}
		for c.step() {
		}
	}
	asked, answered := 0, 0
	for end := c.now + 1_000_000_000; c.now < end; c.now += 1_000_000 {
		if err := r.Read(nil, func(any, error) { answered++ }); err == nil {
			asked++
		}
		for c.step() {
		}
	}
	c.run(time.Second)
	if expired != 2 {
		t.Errorf("%d of 2 proposals ran into their deadline", expired)
	}
	if asked == 0 || answered != asked {
		t.Errorf("%d of %d reads were answered", answered, asked)
	}
}

// An assertion that fails while a batch is given to the core finds the batch in no list but the core's: whoever waits for it is
// answered all the same.
func TestAnAssertionWhileProposingAnswersTheBatch(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	c.start(1)
	h := c.waitLeader(1)
	r := h.replicas[1]
	answered := error(nil)
	if err := r.Propose([]byte("x"), 0, func(_ rsm.Result, err error) { answered = err }); err != nil {
		t.Fatal(err)
	}
	ticket, err := r.ProposeTicket([]byte("y"), 0)
	if err != nil {
		t.Fatal(err)
	}
	r.SabotageOpenBatches()
	c.until(time.Second, "answered", func() bool { return answered != nil })
	<-ticket.Done()
	if _, err := ticket.Outcome(); !errors.Is(err, engine.ErrFenced) || !errors.Is(answered, engine.ErrFenced) {
		t.Errorf("ended with %v and %v", answered, err)
	}
}

// A callback that panics is its caller's affair, also where it is called while the core's output is passed on.
func TestAPanickingTransferCallbackHurtsNobody(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1, 2)
	h := c.waitLeader(1)
	c.waitLeader(2)
	calls := 0
	h.replicas[1].Transfer(0, func(error) { calls++; panic("callback") })
	c.until(30*time.Second, "transferred", func() bool { return calls == 1 && c.leader(1) != nil && c.leader(1) != h })
	if n := h.engine.Counters().ReplicasFenced; n != 0 {
		t.Errorf("%d replicas fenced", n)
	}
	if _, err := c.propose(h, 1, "after"); err != nil {
		t.Errorf("the shard does not go on: %v", err)
	}
}

// Callbacks of every operation may panic: that ends their own call only, and each is called once.
func TestPanickingCallbacksOfOperationsHurtNobody(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	h := c.hosts[0]
	var r *engine.Replica
	calls := map[string]int{}
	fail := func(name string) { calls[name]++; panic(name) }
	factory := func(uint64, uint64) (rsm.StateMachine, error) { return &recorder{}, nil }
	h.engine.StartReplica(engine.ReplicaOptions{ShardID: 1, ReplicaID: 1, Members: c.members()}, factory,
		func(started *engine.Replica, _ error) { r = started; fail("start") })
	c.until(time.Second, "started", func() bool { return r != nil })
	h.engine.StartReplica(engine.ReplicaOptions{ShardID: 1, ReplicaID: 1, Members: c.members()}, factory,
		func(*engine.Replica, error) { fail("start again") })
	h.engine.RemoveReplicaData(1, 1, func(error) { fail("remove while it runs") })
	r.Status(func(raft.Status, error) { fail("status") })
	r.Transfer(9, func(error) { fail("transfer") })
	c.until(10*time.Second, "leads", r.Leading)
	h.engine.StopReplica(r, func(error) { fail("stop") })
	h.engine.StopReplica(r, func(error) { fail("stop again") })
	c.until(10*time.Second, "stopped", func() bool { return calls["stop"] > 0 })
	h.engine.RemoveReplicaData(1, 1, func(error) { fail("remove") })
	c.until(10*time.Second, "removed", func() bool { return calls["remove"] > 0 })
	c.run(time.Second)
	for _, name := range []string{"start", "start again", "remove while it runs", "status", "transfer", "stop", "stop again", "remove"} {
		if calls[name] != 1 {
			t.Errorf("%s: called %d times", name, calls[name])
		}
	}
	if n := h.engine.Counters().ReplicasFenced; n != 0 {
		t.Errorf("%d replicas fenced", n)
	}
}
