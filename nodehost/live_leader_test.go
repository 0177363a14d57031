package nodehost_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
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
		leader := l.c.leader(liveShard)
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
		leader := l.c.leader(liveShard)
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
