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

// load counts what is asked of a shard and what is answered.
type load struct {
	asked, answered, doubled atomic.Int64
}

// async keeps a proposal, a read and a batch under way until the shard says that it is stopped. Every accepted request
// is counted when it is answered; answered says when all are.
func (l *load) async(t *testing.T, shard *nodehost.Shard, all *sync.WaitGroup) {
	ended := func(err error) bool { return errors.Is(err, nodehost.ErrStopped) }
	inFlight := make(chan struct{}, 96)
	once := func() func() {
		var calls atomic.Int32
		inFlight <- struct{}{}
		l.asked.Add(1)
		all.Add(1)
		return func() {
			if calls.Add(1) > 1 {
				l.doubled.Add(1)
				return
			}
			l.answered.Add(1)
			<-inFlight
			all.Done()
		}
	}
	for n := 0; ; n++ {
		done := once()
		err := shard.ProposeAsync([]byte(fmt.Sprint(n)), func(rsm.Result, error) { done() })
		if err != nil {
			done()
		}
		done2 := once()
		if err2 := shard.ReadAsync("size", func(any, error) { done2() }); err2 != nil {
			done2()
		}
		done3 := once()
		if err3 := shard.ProposeBatch([][]byte{[]byte("a"), []byte("b")}, func([]rsm.Result, error) { done3() }); err3 != nil {
			done3()
		}
		if ended(err) {
			return
		}
	}
}

// blocking calls Propose and Read until the shard is stopped.
func (l *load) blocking(t *testing.T, shard *nodehost.Shard) {
	for n := 0; ; n++ {
		_, err := shard.Propose(context.Background(), []byte("blocking"))
		if _, err2 := shard.Read(context.Background(), "size"); errors.Is(err2, nodehost.ErrStopped) && errors.Is(err, nodehost.ErrStopped) {
			return
		}
	}
}

// Close under load, from several goroutines at once, answers every accepted request exactly once, and leaves no
// goroutine behind: TestMain looks for those.
func TestCloseUnderLoadAnswersEveryRequestOnce(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll(1, 2)
	c.propose(0, 1, "x")
	c.propose(0, 2, "x")
	var l load
	var loops, answers sync.WaitGroup
	for i := range 3 {
		for id := uint64(1); id <= 2; id++ {
			shard := c.shard(i, id)
			loops.Go(func() { l.async(t, shard, &answers) })
			loops.Go(func() { l.blocking(t, shard) })
		}
	}
	c.eventually("load", func() bool { return l.answered.Load() > 2000 })
	var closers sync.WaitGroup
	for i := range 3 {
		for range 2 {
			closers.Go(func() {
				if err := c.hosts[i].Close(); err != nil {
					t.Errorf("close host %d: %v", i, err)
				}
			})
		}
	}
	closers.Wait()
	loops.Wait()
	answers.Wait() // a request without an answer hangs the test
	if l.doubled.Load() > 0 {
		t.Errorf("%d requests were answered twice", l.doubled.Load())
	}
	t.Logf("%d requests", l.asked.Load())
	for i := range 3 {
		if err := c.hosts[i].Close(); err != nil {
			t.Errorf("close again: %v", err)
		}
		if _, err := c.hosts[i].Shard(1); !errors.Is(err, nodehost.ErrNotStarted) {
			t.Errorf("a shard of a closed host: %v", err)
		}
		config := nodehost.ReplicaConfig{ShardID: 9, ReplicaID: uint64(i + 1), Members: c.members()}
		if err := c.hosts[i].StartReplica(context.Background(), config, c.factory(i)); !errors.Is(err, nodehost.ErrStopped) {
			t.Errorf("start on a closed host: %v", err)
		}
		_ = c.hosts[i].Info()
		c.hosts[i] = nil
	}
}

// What is started while Close runs is either stopped by it or refused.
func TestCloseMeetsStarts(t *testing.T) {
	c := newCluster(t, 1)
	for range 5 {
		c.start(0)
		host := c.hosts[0]
		var starts sync.WaitGroup
		var accepted atomic.Int32
		for id := uint64(1); id <= 20; id++ {
			starts.Go(func() {
				config := nodehost.ReplicaConfig{ShardID: id, ReplicaID: 1, Members: c.members()}
				err := host.StartReplica(context.Background(), config, c.factory(0))
				if err != nil && !errors.Is(err, nodehost.ErrStopped) {
					t.Error(err)
				}
				accepted.Add(1)
			})
		}
		c.eventually("some starts", func() bool { return accepted.Load() > 0 })
		c.stop(0)
		starts.Wait()
	}
}

// Close hands leadership over, also under load, so that others need no election timeout to go on: the new leader was chosen by
// the old, and is known to it before it is gone.
func TestCloseHandsLeadershipOver(t *testing.T) {
	c := newCluster(t, 3)
	var mu sync.Mutex
	leaders := make(map[int]uint64) // as each host saw it last
	c.configure = func(i int, config *nodehost.Config) {
		config.Events.LeaderChanged = func(_ nodehost.ReplicaName, leader, _ uint64) {
			mu.Lock()
			defer mu.Unlock()
			leaders[i] = leader
		}
	}
	c.startAll(1)
	c.propose(0, 1, "x")
	leader := c.hold(1) // the target has an election timeout to catch up
	for range 100 {     // the target has to catch up first
		if err := c.shard(leader, 1).ProposeAsync([]byte("under way"), func(rsm.Result, error) {}); err != nil {
			t.Fatal(err)
		}
	}
	c.stop(leader)
	mu.Lock()
	defer mu.Unlock()
	if last := leaders[leader]; last == uint64(leader+1) || last == 0 {
		t.Errorf("the closed host %d last saw leader %d", leader+1, last)
	}
}
