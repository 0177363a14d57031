package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
)

// A replica in which an assertion fails is silent from then on, its requests end as unknown, its neighbours and its
// shard go on, and a restart brings it back (R24).
func TestAFencedReplicaIsSilentUntilItIsStartedAgain(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1, 2)
	fenced := c.waitLeader(1)
	c.waitLeader(2)
	if _, err := c.propose(fenced, 1, "before"); err != nil {
		t.Fatal(err)
	}
	fenced.log.SetAutomatic(false)
	err := errors.New("open")
	if refused := fenced.replicas[1].Propose([]byte("under way"), 0, func(_ rsm.Result, e error) { err = e }); refused != nil {
		t.Fatal(refused)
	}
	c.step()
	fenced.replicas[1].Sabotage()
	c.run(50 * time.Millisecond)
	if !errors.Is(err, engine.ErrFenced) || !engine.MaybeApplied(err) {
		t.Errorf("the request under way ended with %v", err)
	}
	fenced.log.SetAutomatic(true)
	fenced.log.CompleteAll()
	if refused := fenced.replicas[1].Propose(nil, 0, nil); !errors.Is(refused, engine.ErrFenced) {
		t.Errorf("a fenced replica says %v", refused)
	}
	if leader, _ := fenced.replicas[1].Leader(); leader != 0 || fenced.replicas[1].Leading() {
		t.Errorf("a fenced replica names %d as the leader", leader)
	}
	c.until(30*time.Second, "another host leads", func() bool { l := c.leader(1); return l != nil && l != fenced })
	if _, err := c.propose(c.leader(1), 1, "after"); err != nil {
		t.Errorf("the shard does not go on: %v", err)
	}
	if _, err := c.propose(c.leader(2), 2, "neighbour"); err != nil {
		t.Errorf("the neighbour does not go on: %v", err)
	}
	if n := fenced.engine.Counters().ReplicasFenced; n != 1 {
		t.Errorf("%d replicas fenced, want 1", n)
	}
	found := false
	for _, event := range c.events {
		found = found || event.Kind == engine.EventReplicaFenced && strings.Contains(event.Err.Error(), "nil pointer")
	}
	if !found {
		t.Error("no event names the cause")
	}

	stopped := false
	r := fenced.replicas[1]
	fenced.engine.StopReplica(r, func(error) { stopped = true })
	c.until(10*time.Second, "stopped", func() bool { return stopped })
	delete(fenced.machines, 1)
	delete(fenced.replicas, 1)
	for i, h := range c.hosts {
		if h == fenced {
			h.start(engine.ReplicaOptions{ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members()})
		}
	}
	c.until(30*time.Second, "caught up", func() bool {
		m := fenced.machines[1]
		return m != nil && len(m.commands) > 0 && string(m.commands[len(m.commands)-1]) == "after"
	})
}

// What nobody may do is refused with every fault named, and nothing changes.
func TestStartRefusesNonsense(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	h := c.hosts[0]
	factory := func(uint64, uint64) (rsm.StateMachine, error) { return &recorder{}, nil }
	members := c.members()
	for name, try := range map[string]struct {
		options engine.ReplicaOptions
		factory rsm.Factory
		want    error
		text    []string
	}{
		"no identities":  {options: engine.ReplicaOptions{}, want: engine.ErrInvalidOptions, text: []string{"ShardID", "ReplicaID"}},
		"not a member":   {options: engine.ReplicaOptions{ShardID: 1, ReplicaID: 9, Members: members}, want: engine.ErrInvalidOptions, text: []string{"9"}},
		"join with":      {options: engine.ReplicaOptions{ShardID: 1, ReplicaID: 1, Members: members, Join: true}, want: engine.ErrInvalidOptions, text: []string{"Join"}},
		"no members":     {options: engine.ReplicaOptions{ShardID: 1, ReplicaID: 1}, want: engine.ErrInvalidOptions, text: []string{"Members"}},
		"empty address":  {options: engine.ReplicaOptions{ShardID: 1, ReplicaID: 1, Members: map[uint64]string{1: ""}}, want: engine.ErrInvalidOptions, text: []string{"Members[1]"}},
		"factory fails":  {options: engine.ReplicaOptions{ShardID: 1, ReplicaID: 1, Members: members}, factory: func(uint64, uint64) (rsm.StateMachine, error) { return nil, errFactory }, want: errFactory},
		"factory panics": {options: engine.ReplicaOptions{ShardID: 2, ReplicaID: 1, Members: members}, factory: func(uint64, uint64) (rsm.StateMachine, error) { panic("no") }, text: []string{"panicked"}},
		"factory is nil": {options: engine.ReplicaOptions{ShardID: 3, ReplicaID: 1, Members: members}, factory: func(uint64, uint64) (rsm.StateMachine, error) { return nil, nil }, want: engine.ErrInvalidOptions},
	} {
		t.Run(name, func(t *testing.T) {
			chosen := try.factory
			if chosen == nil {
				chosen = factory
			}
			err := errors.New("open")
			open := true
			h.engine.StartReplica(try.options, chosen, func(_ *engine.Replica, e error) { err, open = e, false })
			c.until(time.Second, "answered", func() bool { return !open })
			if err == nil || try.want != nil && !errors.Is(err, try.want) {
				t.Fatalf("got %v, want %v", err, try.want)
			}
			for _, text := range try.text {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not name %s", err, text)
				}
			}
		})
	}
	c.start(7)
	err := error(nil)
	h.engine.StartReplica(engine.ReplicaOptions{ShardID: 7, ReplicaID: 1, Members: members}, factory, func(_ *engine.Replica, e error) { err = e })
	if !errors.Is(err, engine.ErrAlreadyStarted) {
		t.Errorf("a second start says %v", err)
	}
	err = nil
	h.engine.RemoveReplicaData(7, 1, func(e error) { err = e })
	if !errors.Is(err, engine.ErrAlreadyStarted) {
		t.Errorf("removing the data of a running replica says %v", err)
	}
}

var errFactory = errors.New("factory is closed today")

func TestOptionsNameEveryFault(t *testing.T) {
	_, err := engine.New(engine.Options{StepWorkers: -1, MaxCommandBytes: 1 << 40, RequestTimeout: -time.Second})
	if !errors.Is(err, engine.ErrInvalidOptions) {
		t.Fatalf("got %v", err)
	}
	for _, name := range []string{"Address", "LogDB", "Transport", "Cache", "Promises", "Random", "StepWorkers", "MaxCommandBytes", "RequestTimeout"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %s", err, name)
		}
	}
}

func TestTooLargeACommandIsRefused(t *testing.T) {
	c := newTestCluster(t, 1, func(o *engine.Options) { o.MaxCommandBytes = 10 })
	c.start(1)
	c.waitLeader(1)
	r := c.hosts[0].replicas[1]
	if err := r.Propose(make([]byte, 11), 0, nil); !errors.Is(err, engine.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if _, err := r.ProposeTicket(make([]byte, 11), 0); !errors.Is(err, engine.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if _, err := c.propose(c.hosts[0], 1, "0123456789"); err != nil {
		t.Errorf("a command of the very limit: %v", err)
	}
}
