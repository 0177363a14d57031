package nodehost_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/plugin/seglog"
)

// Hosts on the segmented log keep what they acknowledged, through restarts of one and of all, and refuse the log of another.
// The same with a lane on a second device.
func TestSegmentedLog(t *testing.T) {
	t.Run("one lane", func(t *testing.T) { restartOnSegmentedLogs(t, false) })
	t.Run("two lanes", func(t *testing.T) { restartOnSegmentedLogs(t, true) })
}

func restartOnSegmentedLogs(t *testing.T, lanes bool) {
	c := newCluster(t, 3)
	c.configure = func(i int, config *nodehost.Config) {
		options := seglog.Options{SegmentBytes: 256 << 10}
		if lanes {
			options.Directories = []string{filepath.Join(c.dirs[i]+"-second-device", "log")}
		}
		config.LogDB = nodehost.SegmentedLog(options)
	}
	shards := []uint64{1, 2, 3}
	c.startAll(shards...)
	var wanted []string
	propose := func(round int) {
		for i := range 20 {
			command := fmt.Sprintf("round %d command %d", round, i)
			wanted = append(wanted, command)
			for _, shard := range shards {
				c.propose(c.leader(shard), shard, command)
			}
		}
	}
	propose(1)
	c.stop(0)
	propose(2)
	c.start(0)
	c.startShards(0, shards...)
	propose(3)
	c.stop(0, 1, 2)
	c.startAll(shards...)
	propose(4)
	for _, shard := range shards {
		if command, lost := missing(c.read(0, shard), wanted); lost {
			t.Errorf("shard %d has lost %q", shard, command)
		}
	}
	c.stop(0, 1)
	lookOffline(t, c.dirs[0], len(shards))
	log := filepath.Join(c.dirs[0], "log")
	if err := errors.Join(os.RemoveAll(log), os.Rename(filepath.Join(c.dirs[1], "log"), log)); err != nil {
		t.Fatal(err)
	}
	if _, err := nodehost.New(c.config(0)); !errors.Is(err, seglog.ErrOwner) {
		t.Errorf("the log of another host: %v", err)
	}
}

// lookOffline looks at the log of a host that does not run, twice: looking changes nothing.
func lookOffline(t *testing.T, dir string, shards int) {
	t.Helper()
	for range 2 {
		offline, err := nodehost.OpenOffline(dir, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := offline.LogDB.List()
		if err != nil || len(keys) != shards || offline.LogDB.Name() != "seglog" {
			t.Errorf("%s: %v, %v", offline.LogDB.Name(), keys, err)
		}
		if stored, err := offline.LogDB.Load(keys[0]); err != nil || stored.Last == 0 {
			t.Errorf("%+v, %v", stored, err)
		}
		if err := offline.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A data directory stays with the log store that it was begun with. The other one is refused and changes nothing: begun beside it, it would be
// empty, and the host would have forgotten what it promised.
func TestTheOtherLogStoreIsRefused(t *testing.T) {
	for _, own := range stores {
		for _, other := range stores {
			if other.name == own.name {
				continue
			}
			c := newCluster(t, 1)
			c.configure = func(_ int, config *nodehost.Config) { config.LogDB = own.open }
			c.startAll(1)
			c.propose(c.leader(1), 1, "command")
			c.stop(0)
			config := c.config(0)
			config.LogDB = other.open
			if _, err := nodehost.New(config); !errors.Is(err, nodehost.ErrOtherLogStore) {
				t.Errorf("%s on a directory of %s: %v", other.name, own.name, err)
			}
			c.startAll(1)
			if got := c.read(0, 1); len(got) != 1 {
				t.Errorf("%s: %q", own.name, got)
			}
			c.stop(0)
		}
	}
}
