package nodehost_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// lose stops a host, does something to its data directory and starts it again with the shard.
func (l *live) lose(host int, damage func(dir string)) {
	l.c.t.Helper()
	l.down(host, damage)
	l.c.startShards(host, liveShard)
}

// down is lose up to the start of the host, without the shard.
func (l *live) down(host int, damage func(dir string)) {
	l.c.t.Helper()
	l.c.stop(host)
	l.detach(host)
	damage(l.c.dirs[host])
	l.c.start(host)
}

func (l *live) wipe(dir string) {
	l.c.t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		l.c.t.Fatal(err)
	}
}

// incarnation is that by which the shard knows a host's replica, as another host sees it, 0 if it is no voter.
func (l *live) incarnation(of, seenBy int) uint64 {
	l.c.t.Helper()
	members, err := l.c.shard(seenBy, liveShard).Members(patient(l.c.t))
	if err != nil {
		l.c.t.Fatal(err)
	}
	i := slices.IndexFunc(members.Members, func(m raftpb.Member) bool { return m.ReplicaID == uint64(of+1) })
	if i < 0 || members.Members[i].Kind != raftpb.Voter {
		return 0
	}
	return members.Members[i].Incarnation
}

// healed waits until the shard knows a host's replica as a voter by another incarnation than before, and lets clients use it again.
func (l *live) healed(host int, before uint64) {
	l.c.t.Helper()
	l.c.eventually(fmt.Sprint("host ", host, " is healed"), func() bool {
		now := l.incarnation(host, (host+1)%len(l.c.hosts))
		return now != 0 && now != before
	})
	l.attach(host)
}

// A host whose data directory is lost comes back as another incarnation, is caught up and votes again, while the others go on; so does the
// leader's.
func TestLiveWipedDirectory(t *testing.T) {
	l := startLive(t, 3)
	l.some()
	for range 2 {
		host := l.leader()
		before := l.incarnation(host, host)
		l.during("wipe of the leader's host", func() {
			l.lose(host, l.wipe)
			l.healed(host, before)
		})
	}
	l.finish()
}

// cutTail takes the last quarter of what was written to the newest file of a host's log.
func (l *live) cutTail(dir string) {
	l.c.t.Helper()
	var logs []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if suffix := filepath.Ext(path); err == nil && (suffix == ".log" || suffix == ".seg") {
			logs = append(logs, path)
		}
		return err
	})
	if err != nil || len(logs) == 0 {
		l.c.t.Fatalf("%v, %v", logs, err)
	}
	newest := slices.MaxFunc(logs, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	content, err := os.ReadFile(newest)
	if err != nil {
		l.c.t.Fatal(err)
	}
	written := len(bytes.TrimRight(content, "\x00")) // the rest is room that was made ahead
	if err := os.Truncate(newest, int64(written)*3/4); err != nil {
		l.c.t.Fatal(err)
	}
	l.c.t.Logf("%s cut from %d bytes to three quarters", filepath.Base(newest), written)
}

// A log that comes back without its newest part is noticed by what was promised, and healed.
func TestLiveCutTail(t *testing.T) {
	for name, open := range map[string]func(nodehost.LogDBContext) (logdb.LogDB, error){
		"pebble": storeNamed("pebble").open,
		"seglog": nodehost.SegmentedLog(seglog.Options{SegmentBytes: 8 << 20}), // no segment is used again, which would hold older bytes at its end
	} {
		t.Run(name, func(t *testing.T) {
			l := newLiveCluster(t, 3)
			var abstained [4]atomic.Int32
			l.c.configure = func(_ int, config *nodehost.Config) {
				config.LogDB = open
				config.Events.ReplicaAbstaining = func(r nodehost.ReplicaName) { abstained[r.ReplicaID].Add(1) }
			}
			l.c.startAll(liveShard)
			l.load()
			l.some()
			host := l.leader()
			before := l.incarnation(host, host)
			l.during("cut of the log's tail", func() {
				l.lose(host, l.cutTail)
				l.healed(host, before)
			})
			l.c.eventually("it is said to abstain", func() bool { return abstained[host+1].Load() > 0 })
			for id := range abstained {
				if (abstained[id].Load() > 0) != (id == host+1) {
					t.Errorf("replica %d is said to abstain %d times", id, abstained[id].Load())
				}
			}
			l.finish()
		})
	}
}

// An older copy of a whole data directory is put back: the other hosts have seen a later start of it and refuse it. Started once more, it
// comes back with a replica that abstains and is healed. The others go on.
func TestLiveOldCopy(t *testing.T) {
	l := startLive(t, 3)
	l.some()
	host := l.leader()
	before := l.incarnation(host, host)
	backup := filepath.Join(t.TempDir(), "backup")
	l.lose(host, func(dir string) {
		if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	})
	l.attach(host)
	l.some()
	l.caughtUp() // the others have met its later start
	l.during("an old copy is put back", func() {
		l.down(host, func(dir string) {
			l.wipe(dir)
			if err := os.CopyFS(dir, os.DirFS(backup)); err != nil {
				t.Fatal(err)
			}
		})
		config := nodehost.ReplicaConfig{ShardID: liveShard, ReplicaID: uint64(host + 1), Members: l.c.members()}
		if err := l.c.hosts[host].StartReplica(patient(t), config, l.c.factory(host)); err != nil && !errors.Is(err, nodehost.ErrStorageFailed) {
			t.Fatal(err) // the others may have noticed it before
		}
		l.c.eventually("the copy is noticed", func() bool {
			return errors.Is(l.c.hosts[host].Info().StorageFailure, nodehost.ErrRestoredDirectory)
		})
	})
	l.during("its healing", func() {
		_ = l.c.hosts[host].Close() // its error is that of the storage
		l.c.start(host)
		l.c.startShards(host, liveShard)
		l.healed(host, before)
	})
	l.finish()
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
