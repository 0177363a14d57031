package nodehost_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/transport"
)

// A whole data directory is put back from an older copy. The host is refused by those that have seen a later start of it, takes
// no part from then on, and comes back after a restart with replicas that abstain until they are healed, all of them, also
// when it is stopped in between.
func TestADirectoryPutBackIsNoticedAndHealed(t *testing.T) {
	c := newCluster(t, 3)
	var mu sync.Mutex
	healed := make(map[nodehost.ReplicaName]int)
	abstaining := make(map[nodehost.ReplicaName]int)
	c.configure = func(i int, config *nodehost.Config) {
		config.Events.ReplicaHealed = func(name nodehost.ReplicaName) { mu.Lock(); healed[name]++; mu.Unlock() }
		config.Events.ReplicaAbstaining = func(name nodehost.ReplicaName) { mu.Lock(); abstaining[name]++; mu.Unlock() }
	}
	c.startAll(1, 2)
	c.propose(0, 1, "before")
	c.propose(0, 2, "before")
	c.leader(1)

	const host = 2
	c.stop(host)
	backup := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(backup, os.DirFS(c.dirs[host])); err != nil {
		t.Fatal(err)
	}
	c.start(host)
	c.startShards(host, 1, 2)
	c.propose(host, 1, "after")
	c.propose(host, 2, "after")
	for _, shard := range []uint64{1, 2} { // by what it reads the leader has met its later start
		if command, lacks := missing(c.read(host, shard), []string{"before", "after"}); lacks {
			t.Errorf("shard %d lacks %q", shard, command)
		}
	}
	c.stop(host)
	if err := errors.Join(os.RemoveAll(c.dirs[host]), os.CopyFS(c.dirs[host], os.DirFS(backup))); err != nil {
		t.Fatal(err)
	}

	c.start(host)
	c.startShards(host, 1, 2)
	c.eventually("the copy is noticed", func() bool {
		err := c.hosts[host].Info().StorageFailure
		return errors.Is(err, nodehost.ErrRestoredDirectory) && errors.Is(err, transport.ErrOwnEpoch)
	})
	if _, err := c.shard(host, 1).Propose(patient(t), []byte("refused")); err == nil {
		t.Error("a host with an old directory takes proposals")
	}
	c.eventually("the mark is written", func() bool {
		_, err := os.Stat(filepath.Join(c.dirs[host], "restored"))
		return err == nil
	})
	_ = c.hosts[host].Close()

	incarnation := func(shard uint64) uint64 {
		c.read(0, shard) // host 0 knows what is in effect then
		members, err := c.shard(0, shard).Members(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		return members.Members[host].Incarnation
	}
	before := incarnation(1)
	c.start(host) // and stopped before a replica runs: what was recorded stays
	c.stop(host)
	c.start(host)
	c.startShards(host, 1, 2)
	for _, shard := range []uint64{1, 2} {
		name := nodehost.ReplicaName{ShardID: shard, ReplicaID: host + 1}
		c.eventually(fmt.Sprint(name, " is healed"), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return healed[name] > 0 && abstaining[name] > 0
		})
		c.eventually("everything is there again", func() bool {
			_, lacks := missing(c.read(host, shard), []string{"before", "after"})
			return !lacks
		})
		c.propose(host, shard, "again")
	}
	if after := incarnation(1); after == before {
		t.Errorf("the incarnation stayed %x", after)
	}
	if _, err := os.Stat(filepath.Join(c.dirs[host], "restored")); err == nil {
		t.Error("the mark is still there")
	}
}
