package nodehost_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// A state machine that fails in the middle of a batch takes its own replica out of service and nothing else: everybody who
// waited gets one answer, and the other shards go on.
func TestAFailingStateMachineIsQuarantinedAlone(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("poisoned") },
		"panic": func() error { panic("poisoned") },
	} {
		t.Run(name, func(t *testing.T) { quarantineOne(t, fail) })
	}
}

func quarantineOne(t *testing.T, fail func() error) {
	c := newCluster(t, 1)
	var quarantined atomic.Pointer[error]
	c.configure = func(_ int, config *nodehost.Config) {
		config.Events.ReplicaQuarantined = func(replica nodehost.ReplicaName, err error) {
			if replica != (nodehost.ReplicaName{ShardID: 1, ReplicaID: 1}) {
				t.Errorf("quarantined is %v", replica)
			}
			quarantined.Store(&err)
		}
	}
	c.hook = func(_ int, shard uint64, command string) error {
		if shard == 1 && command == "poison" {
			return fail()
		}
		return nil
	}
	c.startAll(1, 2)
	c.propose(0, 1, "before")
	c.propose(0, 2, "before")
	shard := c.shard(0, 1)
	var answered, poisoned atomic.Int32
	var wait sync.WaitGroup
	for n := range 50 {
		command := fmt.Sprint("command ", n)
		if n == 25 {
			command = "poison"
		}
		wait.Add(1)
		err := shard.ProposeAsync([]byte(command), func(_ rsm.Result, err error) {
			answered.Add(1)
			if err != nil {
				poisoned.Add(1)
				if !errors.Is(err, nodehost.ErrQuarantined) || command == "poison" && !nodehost.MaybeApplied(err) {
					t.Errorf("%s: %v", command, err)
				}
			}
			wait.Done()
		})
		if err != nil {
			if !errors.Is(err, nodehost.ErrQuarantined) || nodehost.MaybeApplied(err) {
				t.Errorf("%s refused: %v", command, err)
			}
			wait.Done()
		}
	}
	wait.Wait()
	if poisoned.Load() == 0 {
		t.Error("nobody was told of the failure")
	}
	c.eventually("the event", func() bool { return quarantined.Load() != nil })
	_, proposed := shard.Propose(patient(t), []byte("later"))
	_, read := shard.Read(patient(t), nil)
	_, stale := shard.StaleRead(context.Background(), nil, 0)
	for what, err := range map[string]error{
		"propose": proposed, "read": read, "stale read": stale, "async read": shard.ReadAsync(nil, nil),
	} {
		if !errors.Is(err, nodehost.ErrQuarantined) {
			t.Errorf("%s: %v", what, err)
		}
	}
	c.propose(0, 2, "after")
	// A restart of the replica tries again. It meets the same command here, and fails again, before it serves anything wrong.
	if err := c.hosts[0].StopReplica(patient(t), 1); err != nil {
		t.Fatal(err)
	}
	c.startShards(0, 1)
	c.eventually("quarantine again", func() bool {
		_, err := c.shard(0, 1).StaleRead(context.Background(), nil, 0)
		return errors.Is(err, nodehost.ErrQuarantined)
	})
}

// With one of three state machines failing, the shard gets a healthy leader and goes on.
func TestAShardGoesOnWithoutItsQuarantinedReplica(t *testing.T) {
	c := newCluster(t, 3)
	var poisoned atomic.Int32
	poisoned.Store(-1)
	c.hook = func(host int, _ uint64, command string) error {
		if command == "poison" && poisoned.CompareAndSwap(-1, int32(host)) {
			return errors.New("poisoned")
		}
		return nil
	}
	c.startAll(1)
	leader := c.steady(1)
	c.propose(leader, 1, "before")
	_, err := c.shard(leader, 1).Propose(patient(t), []byte("poison"))
	if poisoned.Load() == int32(leader) && !passing(err) && (!errors.Is(err, nodehost.ErrQuarantined) || !nodehost.MaybeApplied(err)) {
		t.Errorf("the poisoned command: %v", err)
	}
	c.eventually("a poisoned host", func() bool { return poisoned.Load() >= 0 })
	for i := range 3 {
		if i != int(poisoned.Load()) {
			c.propose(i, 1, fmt.Sprint("after ", i))
		}
	}
	c.eventually("a healthy replica leads", func() bool { return c.leader(1) != int(poisoned.Load()) })
}

func TestAPanicInALookupIsItsCallersAlone(t *testing.T) {
	c := newCluster(t, 1)
	c.startAll(1)
	c.propose(0, 1, "x")
	if _, err := c.shard(0, 1).Read(patient(t), "panic"); !errors.Is(err, rsm.ErrLookupPanicked) {
		t.Errorf("read: %v", err)
	}
	if lost, gone := missing(c.read(0, 1), []string{"x"}); gone {
		t.Errorf("lost %q", lost)
	}
}

// State machines that hang hold up their own shards, however many they are: more than there are apply workers.
func TestStuckStateMachinesSlowTheirOwnShards(t *testing.T) {
	const stuck = 5
	c := newCluster(t, 1)
	c.configure = func(_ int, config *nodehost.Config) { config.Tuning.ApplyWorkers = 2 }
	release := make(chan struct{})
	var entered atomic.Int32
	c.hook = func(_ int, shard uint64, command string) error {
		if command == "stick" {
			entered.Add(1)
			<-release
		}
		return nil
	}
	c.startAll(1, 2, 3, 4, 5, 6, 7, 8)
	for shard := uint64(1); shard <= 8; shard++ {
		c.propose(0, shard, "before")
	}
	var wait sync.WaitGroup
	for shard := uint64(1); shard <= stuck; shard++ {
		wait.Add(1)
		err := c.shard(0, shard).ProposeAsync([]byte("stick"), func(_ rsm.Result, err error) {
			if err != nil {
				t.Errorf("shard %d: %v", shard, err)
			}
			wait.Done()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c.eventually("all are stuck", func() bool { return entered.Load() == stuck })
	for shard := uint64(stuck + 1); shard <= 8; shard++ {
		for n := range 20 {
			c.propose(0, shard, fmt.Sprint(n))
		}
		c.read(0, shard)
	}
	// A caller of a stuck shard may leave.
	ctx, cancel := context.WithCancelCause(context.Background())
	left := errors.New("left")
	cancelled := make(chan error, 1)
	go func() {
		_, err := c.shard(0, 1).Propose(ctx, []byte("x"))
		cancelled <- err
	}()
	cancel(left)
	if err := <-cancelled; !errors.Is(err, left) {
		t.Errorf("a caller that left: %v", err)
	}
	close(release)
	wait.Wait()
}
