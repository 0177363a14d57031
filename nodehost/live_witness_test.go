package nodehost_test

import (
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
)

// A shard of two replicas with data and a witness goes on when either of the two is away: the witness stands in once that one
// has missed an election timeout (R19). It does not survive the other going before the first has caught up again, so the test waits
// for that, and sees to it that the witness does not stand in once more because the machine is busy. The witness serves nothing.
func TestLiveWitness(t *testing.T) {
	l := newLiveCluster(t, 3)
	start := func(host int) {
		l.c.start(host)
		config := nodehost.ReplicaConfig{Members: l.c.members(), Witnesses: []uint64{3}}
		if host < 2 {
			l.startReplica(host, config)
			return
		}
		config.ShardID, config.ReplicaID = liveShard, 3
		if err := l.c.hosts[host].StartReplica(patient(t), config, nil); err != nil { // it applies nothing
			t.Fatal(err)
		}
	}
	for host := range 3 {
		start(host)
	}
	l.attach(0)
	l.attach(1)
	l.leader()
	l.startClients()
	l.some()
	for _, away := range []int{0, 1} {
		l.c.hold(liveShard)
		l.caughtUp()
		l.during("close of a host with data", func() {
			l.c.stop(away)
			l.detach(away)
			l.c.setTimeouts(liveShard, 0)
			l.some()
		})
		l.during("its return", func() {
			start(away)
			l.attach(away)
		})
	}
	l.caughtUp()
	if _, err := l.c.shard(2, liveShard).Propose(patient(t), make([]byte, 16)); err == nil {
		t.Error("a witness proposes")
	}
	if _, err := l.c.shard(2, liveShard).Read(patient(t), 0); err == nil {
		t.Error("a witness reads")
	}
	(&mistake{"transfer to a witness", func() error { return l.c.shard(l.leader(), liveShard).TransferLeader(patient(t), 3) },
		[]error{nodehost.ErrNotVoter}, nil}).check(t)
	l.finish()
}

// caughtUp waits until every follower of the leader has all that the leader had at the call.
func (l *live) caughtUp() {
	l.c.t.Helper()
	leader := l.leader()
	status, err := l.c.shard(leader, liveShard).Status(patient(l.c.t))
	if err != nil {
		l.c.t.Fatal(err)
	}
	last := status.LastIndex
	l.c.eventually("the followers caught up", func() bool {
		status, err := l.c.shard(l.leader(), liveShard).Status(patient(l.c.t))
		if err != nil {
			return false
		}
		for i := range status.Followers {
			if status.Followers[i].Match < last {
				return false
			}
		}
		return len(status.Followers) > 0
	})
}
