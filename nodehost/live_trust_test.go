package nodehost_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
)

func (l *live) wipe(dir string) {
	l.c.t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		l.c.t.Fatal(err)
	}
}

// When two of three hosts lost their data the shard stops: no request is answered by anything but an error that says why, and what
// the third holds stays.
func TestLiveTwoOfThreeWiped(t *testing.T) {
	l := startLive(t, 3)
	l.some()
	l.finish()
	survivor := l.leader()
	kept, _ := l.machines[survivor].Load().state(0)
	again := &live{c: l.c, base: l.base, handles: l.handles, machines: l.machines}
	for i := range l.c.hosts {
		if i != survivor {
			l.c.stop(i)
			l.detach(i)
			l.wipe(l.c.dirs[i])
		}
	}
	for i := range l.c.hosts {
		if i != survivor {
			l.c.start(i)
			l.c.startShards(i, liveShard)
		}
	}
	again.startClients()
	for i := range l.c.hosts {
		again.attach(i)
		l.c.eventually(fmt.Sprint("host ", i, " says that data is lost"), func() bool {
			_, err := l.c.shard(i, liveShard).Propose(patient(t), make([]byte, 16))
			if err == nil {
				t.Fatal("a write was acknowledged")
			}
			return errors.Is(err, nodehost.ErrDataLost) && !nodehost.MaybeApplied(err)
		})
	}
	again.halt()
	if n := again.answered.Load(); n > 0 {
		t.Errorf("%d operations were answered", n)
	}
	if now, _ := l.machines[survivor].Load().state(0); now != kept {
		t.Error("the survivor's state changed")
	}
}
