package engine_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
)

// With one host's sync held for five seconds no leader changes, shards led elsewhere go on, and shards led there still
// heartbeat, refuse with ErrBusy in bounded memory, serve reads and time out.
func TestAHeldSyncStopsNoTimerAndNoNeighbour(t *testing.T) {
	const budget = 1 << 20
	c := newTestCluster(t, 3, func(o *engine.Options) {
		o.MaxWriteBytes = budget
		o.RequestTimeout = 2 * time.Second
	})
	var shards []uint64
	for shard := uint64(1); shard <= 6; shard++ {
		shards = append(shards, shard)
	}
	c.start(shards...)
	stalled := c.hosts[0]
	for i, shard := range shards {
		c.waitLeader(shard)
		target := c.hosts[i%3]
		if c.leader(shard) != target {
			c.leader(shard).replicas[shard].Transfer(uint64(i%3+1), func(err error) {
				if err != nil {
					t.Errorf("transfer: %v", err)
				}
			})
			c.until(10*time.Second, "transferred", func() bool { return c.leader(shard) == target })
		}
		if _, err := c.propose(target, shard, "before"); err != nil {
			t.Fatal(err)
		}
	}
	changes := make([]uint64, 3)
	for i, h := range c.hosts {
		changes[i] = h.engine.Counters().LeaderChanges
	}
	stalled.log.SetAutomatic(false)
	held := true

	led, other := shards[0], shards[1] // led by the stalled host, and by another
	busy, timedOut, reads, elsewhere := 0, 0, 0, 0
	command := make([]byte, 10_000)
	most := int64(0)
	for end := c.now + raft.Instant(5*time.Second); c.now < end; {
		if !c.step() {
			c.advance()
			err := stalled.replicas[led].Propose(command, 0, func(_ rsm.Result, err error) {
				switch {
				case errors.Is(err, engine.ErrBusy):
					busy++
				case errors.Is(err, engine.ErrTimeout) && engine.MaybeApplied(err):
					timedOut++
				case err == nil && held:
					t.Error("acknowledged without being durable here")
				}
			})
			if errors.Is(err, engine.ErrBusy) {
				busy++
			}
			if err := stalled.replicas[led].Read("count", func(_ any, err error) {
				if err == nil {
					reads++
				}
			}); err != nil {
				t.Fatalf("read: %v", err)
			}
			if err := c.hosts[1].replicas[other].Propose([]byte("elsewhere"), 0, func(_ rsm.Result, err error) {
				if err == nil {
					elsewhere++
				}
			}); err != nil {
				t.Fatalf("propose elsewhere: %v", err)
			}
		}
		most = max(most, stalled.engine.Counters().WriteBytes)
	}
	if busy == 0 || timedOut == 0 || reads == 0 || elsewhere == 0 {
		t.Errorf("%d busy, %d timed out, %d reads, %d commands elsewhere: want some of each", busy, timedOut, reads, elsewhere)
	}
	if most > 2*budget {
		t.Errorf("%d bytes waited for the disk with a budget of %d", most, budget)
	}
	for i, h := range c.hosts {
		if got := h.engine.Counters().LeaderChanges; got != changes[i] {
			t.Errorf("host %d saw %d leader changes", i+1, got-changes[i])
		}
	}
	held = false
	stalled.log.SetAutomatic(true)
	stalled.log.CompleteAll()
	c.until(20*time.Second, "the shard works again", func() bool {
		done := false
		_ = stalled.replicas[led].Propose([]byte("after"), 0, func(_ rsm.Result, err error) { done = err == nil })
		c.run(100 * time.Millisecond)
		return done
	})
}

// The leader sends before its own sync (thesis 10.2.1): with that sync held, both followers have the batch durable.
func TestFollowersAreDurableBeforeTheLeader(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "before"); err != nil {
		t.Fatal(err)
	}
	leader.log.SetAutomatic(false)
	acknowledged := false
	if err := leader.replicas[1].Propose([]byte("early"), 0, func(rsm.Result, error) { acknowledged = true }); err != nil {
		t.Fatal(err)
	}
	c.run(200 * time.Millisecond)
	durable := 0
	for i, h := range c.hosts {
		after := h.log.Crash(func(int) int { return 0 })
		if holds(t, after, uint64(i+1), "early") {
			durable++
			if h == leader {
				t.Error("the leader's copy is durable although its sync is held")
			}
		}
	}
	if durable != 2 {
		t.Errorf("durable on %d hosts, want both followers", durable)
	}
	if acknowledged {
		t.Error("applied on the leader before its own copy was durable (R8)")
	}
}

func holds(t *testing.T, log logdb.LogDB, replica uint64, command string) bool {
	t.Helper()
	key := logdb.ReplicaKey{ShardID: 1, ReplicaID: replica}
	stored, err := log.Load(key)
	if err != nil {
		t.Fatal(err)
	}
	batches, err := log.Read(key, stored.Compacted+1, stored.Last, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, batch := range batches {
		iterator := batch.Iterator()
		for iterator.Next() {
			if string(iterator.Command()) == command {
				return true
			}
		}
	}
	return false
}

// A failed write is a latch (R9): leaderships leave the host, nothing is acknowledged there, and it stays that way.
func TestAFailedWriteIsALatch(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	failing := c.waitLeader(1)
	if _, err := c.propose(failing, 1, "before"); err != nil {
		t.Fatal(err)
	}
	failing.log.Fail(errors.New("no more"))
	if _, err := c.propose(failing, 1, "doomed"); err == nil {
		t.Error("acknowledged on a host whose disk failed")
	}
	c.until(30*time.Second, "another host leads", func() bool { l := c.leader(1); return l != nil && l != failing })
	if failing.engine.StorageFailure() == nil {
		t.Error("the engine does not know")
	}
	if _, err := c.propose(c.leader(1), 1, "after"); err != nil {
		t.Errorf("the shard does not go on: %v", err)
	}
	c.run(20 * time.Second)
	if failing.replicas[1].Leading() {
		t.Error("the failed host leads again")
	}
}

// All that is pending when a replica is stopped is answered, exactly once, and it comes back with its log.
func TestStopAnswersWhatIsPendingAndARestartKeepsTheLog(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	c.start(1)
	h := c.waitLeader(1)
	for i := range 20 {
		if _, err := c.propose(h, 1, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	h.log.SetAutomatic(false)
	answers, unknown := map[int]int{}, 0
	for i := range 10 {
		if err := h.replicas[1].Propose([]byte("pending"), 0, func(_ rsm.Result, err error) {
			answers[i]++
			if engine.MaybeApplied(err) {
				unknown++
			}
			if err == nil {
				t.Error("applied without a sync")
			}
		}); err != nil {
			t.Fatal(err)
		}
		c.step()
	}
	stopped := false
	r := h.replicas[1]
	h.engine.StopReplica(r, func(err error) {
		stopped = true
		if err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	c.run(100 * time.Millisecond)
	if len(answers) != 10 {
		t.Errorf("%d of 10 were answered", len(answers))
	}
	for i, n := range answers {
		if n != 1 {
			t.Errorf("request %d was answered %d times", i, n)
		}
	}
	if stopped {
		t.Error("stopped before its writes were durable")
	}
	if err := r.Propose(nil, 0, nil); !errors.Is(err, engine.ErrStopped) {
		t.Errorf("a stopped replica says %v", err)
	}
	h.log.SetAutomatic(true)
	h.log.CompleteAll()
	c.until(time.Second, "stopped", func() bool { return stopped })

	delete(h.machines, 1)
	h.start(engine.ReplicaOptions{ShardID: 1, ReplicaID: 1, Members: c.members()})
	c.until(10*time.Second, "replayed", func() bool { return len(h.machines[1].commands) == 20+unknown })
	if unknown == 0 || unknown == 10 {
		t.Errorf("%d of 10 outcomes are unknown, want those in flight and not those that waited", unknown)
	}
}

// Nothing is started on a host whose log store has failed: what can be read of it may not be durable (R9).
func TestNoReplicaIsStartedOnAFailedStore(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	c.start(1)
	h := c.waitLeader(1)
	if _, err := c.propose(h, 1, "a"); err != nil {
		t.Fatal(err)
	}
	stopped := false
	h.engine.StopReplica(h.replicas[1], func(error) { stopped = true })
	c.until(time.Second, "stopped", func() bool { return stopped })
	h.log.Fail(errors.New("no more"))
	removed := false
	h.engine.RemoveReplicaData(9, 9, func(error) { removed = true })
	c.until(time.Second, "the failure is noticed", func() bool { return removed && h.engine.StorageFailure() != nil })
	var failed error
	h.engine.StartReplica(engine.ReplicaOptions{ShardID: 1, ReplicaID: 1, Members: c.members()},
		func(uint64, uint64) (rsm.StateMachine, error) { return &recorder{}, nil }, func(_ *engine.Replica, err error) { failed = err })
	c.until(time.Second, "refused", func() bool { return failed != nil })
	if !errors.Is(failed, engine.ErrStorageFailed) {
		t.Errorf("got %v", failed)
	}
}
