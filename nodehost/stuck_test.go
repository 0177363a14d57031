package nodehost_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// stubborn is a state machine whose Update does not return until it is told to.
type stubborn struct {
	inside   atomic.Bool
	release  chan struct{}
	returned chan struct{}
}

func (m *stubborn) Update([]rsm.Entry) error {
	m.inside.Store(true)
	<-m.release
	close(m.returned)
	return nil
}

func (m *stubborn) Lookup(any) (any, error) { return nil, nil }
func (m *stubborn) Close() error            { return nil }

// Close returns although a state machine does not: it names the replica, answers what was pending, and closes the rest. The goroutine
// left behind ends when the state machine returns; TestMain looks for goroutines.
func TestCloseReportsAStateMachineThatDoesNotReturn(t *testing.T) {
	c := newCluster(t, 1)
	config := c.config(0)
	config.Tuning.MaxStopWait = 500 * time.Millisecond // what does return, returns in that time on a busy machine too
	host, err := nodehost.New(config)
	if err != nil {
		t.Fatal(err)
	}
	machine := &stubborn{release: make(chan struct{}), returned: make(chan struct{})}
	err = host.StartReplica(patient(t), nodehost.ReplicaConfig{ShardID: 7, ReplicaID: 1, Members: c.members()},
		func(uint64, uint64) (rsm.StateMachine, error) { return machine, nil })
	if err != nil {
		t.Fatal(err)
	}
	shard, err := host.Shard(7)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shard.WaitLeader(patient(t)); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	if err := shard.ProposeAsync([]byte("x"), func(_ rsm.Result, err error) { answered <- err }); err != nil {
		t.Fatal(err)
	}
	c.eventually("the state machine is held up", machine.inside.Load)
	err = host.Close()
	if !errors.Is(err, nodehost.ErrStuck) || !strings.Contains(err.Error(), "shard 7, replica 1") {
		t.Errorf("Close says %v", err)
	}
	if err := <-answered; !errors.Is(err, nodehost.ErrStopped) || !nodehost.MaybeApplied(err) {
		t.Errorf("the proposal ended with %v", err)
	}
	c.eventually("the directory is free", func() bool {
		again, err := nodehost.New(config)
		return err == nil && again.Close() == nil
	})
	close(machine.release)
	<-machine.returned
}

// Close returns although a callback of Events does not, as one that hands events to a goroutine which has ended. It once waited for ever.
func TestCloseReportsACallbackThatDoesNotReturn(t *testing.T) {
	c := newCluster(t, 1)
	config := c.config(0)
	config.Tuning.MaxStopWait = 500 * time.Millisecond
	inside, release, returned := make(chan struct{}), make(chan struct{}), make(chan struct{})
	config.Events.ReplicaReady = func(nodehost.ReplicaName) {
		close(inside)
		<-release
		close(returned)
	}
	host, err := nodehost.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := host.StartReplica(patient(t), nodehost.ReplicaConfig{ShardID: 7, ReplicaID: 1, Members: c.members()}, c.factory(0)); err != nil {
		t.Fatal(err)
	}
	<-inside
	if err := host.Close(); !errors.Is(err, nodehost.ErrStuck) || !strings.Contains(err.Error(), "listener") {
		t.Errorf("Close says %v", err)
	}
	c.eventually("the directory is free", func() bool {
		again, err := nodehost.New(c.config(0))
		return err == nil && again.Close() == nil
	})
	close(release)
	<-returned
}

// Close returns although a start waits for a disk that does not answer: it says so, and the directory is given free once the disk answers. It once
// waited for as long as the disk.
func TestCloseDoesNotWaitForAHungDisk(t *testing.T) {
	c := newCluster(t, 1)
	gate := &syncGate{}
	config := c.config(0)
	config.FS = errorfs.Wrap(vfs.Default, gate)
	config.Tuning.MaxStopWait = 50 * time.Millisecond
	host, err := nodehost.New(config)
	if err != nil {
		t.Fatal(err)
	}
	gate.hold()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	err = host.StartReplica(ctx, nodehost.ReplicaConfig{ShardID: 7, ReplicaID: 1, Members: c.members()}, c.factory(0))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the start, which goes on, says %v", err)
	}
	if err := host.Close(); !errors.Is(err, nodehost.ErrStuck) || !strings.Contains(err.Error(), "disk") {
		t.Errorf("Close says %v", err)
	}
	gate.release()
	c.eventually("the directory is free", func() bool {
		again, err := nodehost.New(c.config(0))
		return err == nil && again.Close() == nil
	})
}
