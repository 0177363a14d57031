package nodehost_test

import (
	"fmt"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
)

// What a host says of itself includes what its log store has done, whichever that is.
func TestInfoCountsTheLog(t *testing.T) {
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			c := newCluster(t, 1)
			c.configure = func(_ int, config *nodehost.Config) { config.LogDB = store.open }
			c.startAll(1)
			const proposals = 20
			for i := range proposals {
				c.propose(c.leader(1), 1, fmt.Sprint("command ", i))
			}
			c.eventually("nothing waits for the log", func() bool { return c.hosts[0].Info().Log.Queue == 0 })
			log := c.hosts[0].Info().Log
			if log.Commits < proposals || log.GroupBytes.Count < proposals || log.SyncLatency.Count < proposals || log.WriteLatency.Count == 0 {
				t.Errorf("%d commits, %d groups, %d writes, %d syncs", log.Commits, log.GroupBytes.Count, log.WriteLatency.Count, log.SyncLatency.Count)
			}
			if log.GroupBytes.Mean() < 20 || log.SyncLatency.Max == 0 || log.LogBytes < log.GroupBytes.Max || log.DiskBytes == 0 {
				t.Errorf("groups of %.0f bytes, syncs of at most %d ns, %d bytes of log, %d on the disk",
					log.GroupBytes.Mean(), log.SyncLatency.Max, log.LogBytes, log.DiskBytes)
			}
			if store.name == "seglog" && (log.LiveBytes == 0 || log.SpaceAmplification() < 1 || log.Gathered.Count == 0) {
				t.Errorf("%d live bytes of %d, %d groups gathered", log.LiveBytes, log.DiskBytes, log.Gathered.Count)
			}
			c.stop(0)
		})
	}
}
