package nodehost_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// transfer hands leadership to a host. It may be refused for a moment, as while another transfer is under way.
func (l *live) transfer(from, to int) {
	l.c.t.Helper()
	shard := l.c.shard(from, liveShard)
	l.c.eventually(fmt.Sprint("host ", to, " leads"), func() bool {
		err := shard.TransferLeader(patient(l.c.t), uint64(to+1))
		if errors.Is(err, nodehost.ErrStopped) {
			l.c.t.Fatal(err)
		}
		return err == nil
	})
}

// Leadership goes round, asked for on the leader, on the target and on the third host in turn.
func TestLiveTransfer(t *testing.T) {
	l := startLive(t, 3)
	l.some()
	for round := range 6 {
		leader := l.leader()
		target := (leader + 1) % 3
		asked := (leader + round) % 3
		l.during(fmt.Sprintf("transfer asked of host %d", asked), func() { l.transfer(asked, target) })
	}
	l.finish()
}

// Hosts that lead are closed and started again, one after the other.
func TestLiveRollingRestart(t *testing.T) {
	l := startLive(t, 3)
	l.some()
	for range 3 {
		leader := l.leader()
		l.during("close of the leader's host", func() {
			l.c.stop(leader)
			l.detach(leader)
		})
		l.during("start of that host", func() {
			l.c.start(leader)
			l.c.startShards(leader, liveShard)
			l.attach(leader)
		})
	}
	l.finish()
}

// The replica that is wanted most leads by itself whenever its host is up; the one that is wanted least only while it has to.
func TestLivePriorities(t *testing.T) {
	l := newLiveCluster(t, 3)
	priorities := map[uint64]raftpb.Priority{1: 200, 3: raftpb.PriorityLast}
	start := func(host int) {
		l.c.start(host)
		l.startReplica(host, nodehost.ReplicaConfig{Members: l.c.members(), Priorities: priorities})
	}
	for host := range 3 {
		start(host)
	}
	l.load()
	leads := func(host int) {
		t.Helper()
		l.c.eventually(fmt.Sprint("host ", host, " leads"), func() bool { return l.leader() == host })
	}
	leads(0)
	l.some()
	l.during("transfer to the least", func() {
		l.transfer(0, 2)
		leads(0)
	})
	l.during("close of the best's host", func() {
		l.c.stop(0)
		l.detach(0)
		leads(1)
	})
	l.during("its return", func() {
		start(0)
		l.attach(0)
		leads(0)
	})
	l.finish()
}
