package nodehost_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// State machines that stand still: what a shard takes is bounded by MaxBacklogBytes and refused with ErrBusy beyond, on whatever host it
// is asked, its leader stays and another shard goes on; when they move again every accepted command is answered and more are taken.
func TestASlowStateMachineIsNotFloodedWithCommands(t *testing.T) {
	const limit, size = 256 << 10, 16 << 10
	var held sync.RWMutex
	c := newCluster(t, 3)
	c.hook = func(_ int, shard uint64, _ string) error {
		if shard == 1 {
			held.RLock()
			defer held.RUnlock()
		}
		return nil
	}
	c.requestTimeout = patience // what was accepted waits for as long as the state machines are held
	c.configure = func(_ int, config *nodehost.Config) { config.Tuning.MaxBacklogBytes = limit }
	c.startAll(1, 2)
	c.propose(0, 1, "first")
	c.propose(0, 2, "first")
	leader := c.hold(1)
	shard := c.shard(leader, 1)
	_, term, _ := shard.Leader()

	held.Lock()
	var answers sync.WaitGroup
	var accepted, refused atomic.Int32
	c.eventually("the shard refuses", func() bool {
		answers.Add(1)
		err := shard.ProposeAsync(make([]byte, size), func(_ rsm.Result, err error) {
			defer answers.Done()
			if errors.Is(err, nodehost.ErrBusy) {
				refused.Add(1)
			} else if err != nil {
				t.Errorf("ended with %v", err)
			}
		})
		if err != nil {
			answers.Done()
			return errors.Is(err, nodehost.ErrBusy)
		}
		accepted.Add(1)
		// It counts once it is committed, which takes as long as the disks do. More in between would be bounded by other limits.
		c.eventually("it is refused, or waits for the state machine", func() bool {
			status, err := shard.Status(patient(t))
			return err == nil && status.Backlog >= int(accepted.Load()-refused.Load())*size
		})
		return false
	})
	if status, err := shard.Status(patient(t)); err != nil || status.Backlog <= limit {
		t.Errorf("refused with %d bytes of %d waiting, %v", status.Backlog, limit, err)
	}
	if bytes := int(accepted.Load()-refused.Load()) * size; bytes < limit || bytes > 2*limit {
		t.Errorf("%d bytes were accepted with a limit of %d", bytes, limit)
	}
	for i := range 20 {
		c.propose(leader, 2, fmt.Sprint("meanwhile ", i))
	}
	follower := c.shard((leader+1)%3, 1)
	if _, err := follower.Propose(patient(t), []byte("x")); !errors.Is(err, nodehost.ErrBusy) || nodehost.MaybeApplied(err) {
		t.Errorf("a follower says %v", err)
	}
	held.Unlock()
	answers.Wait()
	c.eventually("it takes commands again", func() bool {
		_, err := shard.Propose(patient(t), []byte("after"))
		return err == nil
	})
	if now, nowTerm, _ := shard.Leader(); now != uint64(leader+1) || nowTerm != term {
		t.Errorf("replica %d leads in term %d, before it was %d in %d", now, nowTerm, leader+1, term)
	}
}

// What a leader knows of its followers is in Status, and what becomes of them is told by events.
func TestFollowersAreShown(t *testing.T) {
	var mu sync.Mutex
	told := map[string]int{}
	note := func(what string, follower uint64) {
		mu.Lock()
		defer mu.Unlock()
		told[fmt.Sprint(what, " ", follower)]++
	}
	times := func(what string, follower int) int {
		mu.Lock()
		defer mu.Unlock()
		return told[fmt.Sprint(what, " ", follower)]
	}
	saw := func(what string, follower int) bool { return times(what, follower) > 0 }
	c := newCluster(t, 3)
	c.configure = func(_ int, config *nodehost.Config) {
		config.Events.FollowerCreated = func(_ nodehost.ReplicaName, follower uint64) { note("created", follower) }
		config.Events.FollowerOnline = func(_ nodehost.ReplicaName, follower uint64) { note("online", follower) }
		config.Events.FollowerOffline = func(_ nodehost.ReplicaName, follower uint64, _ error) { note("offline", follower) }
		config.Events.FollowerDestroyed = func(_ nodehost.ReplicaName, follower uint64) { note("destroyed", follower) }
	}
	c.startAll(1)
	c.propose(0, 1, "x")
	leader := c.hold(1)
	gone, stays := (leader+1)%3, (leader+2)%3
	followers := func() map[uint64]raft.FollowerStatus {
		status, err := c.shard(leader, 1).Status(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		all := map[uint64]raft.FollowerStatus{}
		for _, f := range status.Followers {
			all[f.ReplicaID] = f
		}
		return all
	}
	c.eventually("both follow", func() bool {
		for _, f := range followers() {
			if !f.Online || f.State != raft.ProgressReplicate || f.Sent.Heartbeats == 0 || f.Sent.Appends == 0 || f.Kind != raftpb.Voter {
				return false
			}
		}
		return len(followers()) == 2
	})
	// A connection may have been lost and come back by then, and events are told a little later.
	c.eventually("told that both are online", func() bool {
		for _, follower := range []int{gone + 1, stays + 1} {
			if !saw("created", follower) || times("online", follower) <= times("offline", follower) {
				return false
			}
		}
		return true
	})
	c.stop(gone)
	c.eventually("one is offline, and not the other", func() bool {
		all := followers()
		return saw("offline", gone+1) && !all[uint64(gone+1)].Online && all[uint64(stays+1)].Online
	})
	c.eventually("heartbeats to it fail", func() bool { return followers()[uint64(gone+1)].Failures > 2 })
	c.start(gone)
	c.startShards(gone, 1)
	c.eventually("it is back", func() bool { return followers()[uint64(gone+1)].Online && followers()[uint64(gone+1)].Failures == 0 })
	c.eventually("a transfer", func() bool { return c.shard(leader, 1).TransferLeader(patient(t), uint64(stays+1)) == nil })
	c.eventually("the former leader has done with them", func() bool { return saw("destroyed", gone+1) && saw("destroyed", stays+1) })
}
