package nodehost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/pebblelog"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
	"github.com/flotilla-raft/flotilla/rsm"
)

// damagedShard is the shard whose log is harmed; the load is on another.
const damagedShard = 2

// marker is a command of the registers that is found again in a file.
func marker(i int) []byte { return fmt.Appendf(nil, "flotilla%08d", i) }

// harm flips a bit of a marker wherever it stands in a log store's files.
func harm(t *testing.T, dir string, i int) {
	t.Helper()
	harmed := false
	err := filepath.WalkDir(filepath.Join(dir, "log"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		at := bytes.Index(content, marker(i))
		if at < 0 {
			return nil
		}
		harmed = true
		for ; at >= 0; at = bytes.Index(content, marker(i)) {
			content[at+3] ^= 4
		}
		return os.WriteFile(path, content, 0o600)
	})
	if err != nil || !harmed {
		t.Fatalf("found %t: %v", harmed, err)
	}
}

// sameEverywhere waits until all replicas of a shard have applied the same.
func (l *live) sameEverywhere(shard uint64, operation uint64) {
	l.c.t.Helper()
	l.c.eventually(fmt.Sprint("the same state of shard ", shard), func() bool {
		var values [3]any
		for i := range l.c.hosts {
			value, err := l.c.shard(i, shard).StaleRead(patient(l.c.t), int(operation%liveRegisters), 0)
			if err != nil {
				return false
			}
			values[i] = value
		}
		return values[0] == values[1] && values[1] == values[2] && values[0] != uint64(0)
	})
}

// Damage in the middle of one replica's log takes that replica out of service, names the place, and ends with its being rebuilt from the
// others; the other shards of the host do not notice.
func TestLiveDamagedLogIsHealed(t *testing.T) {
	for name, configure := range map[string]func(*nodehost.Config){
		"pebble": func(config *nodehost.Config) {
			config.LogDB = nodehost.PebbleLog(pebblelog.Options{})
		},
		"seglog": func(config *nodehost.Config) {
			config.LogDB = nodehost.SegmentedLog(seglog.Options{SegmentBytes: 256 << 10})
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLiveCluster(t, 3)
			var damaged, healed, others atomic.Int32
			var text atomic.Pointer[error]
			l.c.configure = func(_ int, config *nodehost.Config) {
				configure(config)
				config.Events.ReplicaDamaged = func(r nodehost.ReplicaName, err error) {
					if r.ShardID != damagedShard {
						others.Add(1)
						return
					}
					damaged.Add(1)
					text.Store(&err)
				}
				config.Events.ReplicaHealed = func(r nodehost.ReplicaName) {
					if r.ShardID == damagedShard {
						healed.Add(1)
					}
				}
			}
			startDamaged := func(i int) {
				replica := nodehost.ReplicaConfig{ShardID: damagedShard, ReplicaID: uint64(i + 1), Members: l.c.members()}
				err := l.c.hosts[i].StartReplica(patient(t), replica, func(uint64, uint64) (rsm.StateMachine, error) { return newRegisters(), nil })
				if err != nil {
					t.Fatal(err)
				}
			}
			l.c.startAll(liveShard)
			for i := range l.c.hosts {
				startDamaged(i)
			}
			l.load()
			for i := range 40 {
				l.c.eventually("a marker", func() bool {
					_, err := l.c.shard(l.c.leader(damagedShard), damagedShard).Propose(patient(t), marker(i))
					return err == nil
				})
			}
			host := (l.leader() + 1) % 3
			restart := func(between func()) {
				l.c.stop(host)
				l.detach(host)
				between()
				l.c.start(host)
				startDamaged(host)
				l.c.startShards(host, liveShard)
				l.attach(host)
			}
			l.sameEverywhere(damagedShard, 0x616c6c69746f6c66) // "flotilla": also the one that is to be harmed has the marker
			restart(func() {})                                 // so that the marker stands where a log store expects no torn tail
			l.during("damage", func() {
				restart(func() { harm(t, l.c.dirs[host], 20) })
				l.c.eventually("healing", func() bool { return healed.Load() == 1 && damaged.Load() > 0 })
				l.sameEverywhere(damagedShard, 0x616c6c69746f6c66) // "flotilla"
			})
			if damaged.Load() != 1 {
				t.Fatalf("said to be damaged %d times", damaged.Load())
			}
			if err := *text.Load(); !errors.Is(err, logdb.ErrDamaged) || !strings.Contains(err.Error(), "shard 2 replica") {
				t.Errorf("damage is described as: %v", err)
			}
			if name == "seglog" && others.Load() != 0 { // a block of Pebble's holds several shards
				t.Error("another shard is said to be damaged")
			}
			l.finish()
		})
	}
}

// A replica is rebuilt on request, running or stopped, as often as asked, and the load goes on.
func TestLiveRepair(t *testing.T) {
	l := startLive(t, 3)
	l.some()
	host := (l.leader() + 1) % 3
	before := l.incarnation(host, l.leader())
	l.during("repair of a running replica", func() {
		l.c.eventually("a repair is asked for", func() bool { // it is refused while no leader is heard
			err := l.c.shard(host, liveShard).Repair(patient(t))
			if err != nil && !errors.Is(err, nodehost.ErrRepairRefused) {
				t.Fatal(err)
			}
			return err == nil
		})
		l.healed(host, before)
	})
	before = l.incarnation(host, l.leader())
	l.during("repair at the next start", func() {
		l.lose(host, func(dir string) {
			marked, err := nodehost.MarkForRepair(dir, nil, liveShard, 0)
			if err != nil || marked != (nodehost.ReplicaName{ShardID: liveShard, ReplicaID: uint64(host + 1)}) {
				t.Fatal(marked, err)
			}
		})
		l.healed(host, before)
	})
	l.finish()
}

func TestRepairIsRefused(t *testing.T) {
	c := newCluster(t, 1)
	c.startAll(1)
	c.leader(1)
	if err := c.shard(0, 1).Repair(patient(t)); !errors.Is(err, nodehost.ErrRepairRefused) || !strings.Contains(err.Error(), "only voter") {
		t.Error("the only voter: ", err)
	}
	if _, err := nodehost.MarkForRepair(c.dirs[0], nil, 1, 1); !errors.Is(err, nodehost.ErrDirectoryLocked) {
		t.Error("a running host: ", err)
	}
	c.stop(0)
	if _, err := nodehost.MarkForRepair(t.TempDir(), nil, 1, 1); !errors.Is(err, nodehost.ErrNoHost) {
		t.Error("no host: ", err)
	}
	for _, shard := range []uint64{0, 9} {
		if _, err := nodehost.MarkForRepair(c.dirs[0], nil, shard, 0); !errors.Is(err, nodehost.ErrRepairRefused) {
			t.Errorf("shard %d: %v", shard, err)
		}
	}
	if _, err := nodehost.MarkForRepair(c.dirs[0], nil, 0, 1); !errors.Is(err, nodehost.ErrRepairRefused) {
		t.Error("shard 0, replica 1: ", err)
	}
	c.configure = func(_ int, config *nodehost.Config) {}
	c.start(0)
	config := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Members: c.members(), DisableHealing: true}
	if err := c.hosts[0].StartReplica(context.Background(), config, c.factory(0)); err != nil {
		t.Fatal(err)
	}
	if err := c.shard(0, 1).Repair(patient(t)); !errors.Is(err, nodehost.ErrRepairRefused) || !strings.Contains(err.Error(), "turned off") {
		t.Error("healing turned off: ", err)
	}
}
