package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// unreadable is a log store whose reads fail while told to.
type unreadable struct {
	logdb.LogDB
	err error
}

func (u *unreadable) Read(key logdb.ReplicaKey, from, to uint64, maxBytes int, into []raftpb.Batch) ([]raftpb.Batch, error) {
	if u.err != nil {
		return nil, u.err
	}
	return u.LogDB.Read(key, from, to, maxBytes, into)
}

// A follower that is behind is served from the log store once the cache has let go; if the store cannot read, an event says
// so, and the follower catches up when it can again.
func TestAFollowerIsServedFromTheLogStore(t *testing.T) {
	var stores []*unreadable
	c := newTestCluster(t, 3, func(o *engine.Options) {
		store := &unreadable{LogDB: o.LogDB}
		stores = append(stores, store)
		o.LogDB, o.Cache = store, logdb.NewCache(logdb.CacheOptions{Bytes: 1})
	})
	c.start(1)
	leader := c.waitLeader(1)
	var behind *testHost
	for _, h := range c.hosts {
		if h != leader {
			behind = h
		}
	}
	for _, h := range c.hosts {
		c.network.SetPartitioned(h.address, behind.address, true)
		c.network.SetPartitioned(behind.address, h.address, true)
	}
	command := make([]byte, 100_000)
	for range 20 {
		if _, err := c.propose(leader, 1, string(command)); err != nil {
			t.Fatal(err)
		}
	}
	for _, store := range stores {
		store.err = errors.New("no such sector")
	}
	for _, h := range c.hosts {
		c.network.SetPartitioned(h.address, behind.address, false)
		c.network.SetPartitioned(behind.address, h.address, false)
	}
	c.until(30*time.Second, "an event says that the follower cannot be served", func() bool {
		for _, event := range c.events {
			if event.Kind == engine.EventFollowerFailed && event.Err != nil && event.Peer != 0 {
				return true
			}
		}
		return false
	})
	for _, store := range stores {
		store.err = nil
	}
	c.until(30*time.Second, "caught up", func() bool { return len(behind.machines[1].commands) == 20 })
}
