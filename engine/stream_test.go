package engine_test

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
)

var streamed = []rsm.Kind{rsm.KindMemory, rsm.KindConcurrent, rsm.KindOnDisk}

// A follower that lacks what the others have compacted is sent their state, and goes on from there with the log.
func TestAFollowerBehindTheLogIsSentTheState(t *testing.T) {
	forKinds(t, streamed, func(t *testing.T, kind rsm.Kind) {
		c := newStreamCluster(t, 3, kind, nil)
		leader, other, lagging := c.behind(100)
		c.cutOff(lagging, false)
		c.waitState(lagging, 100)
		c.fill(101, 110)
		for i := range 3 {
			c.waitState(i, 110)
		}
		received := c.counters(lagging)
		if received.StreamsReceived != 1 || received.SnapshotsInstalled != 1 || received.StreamsFailed != 0 {
			t.Errorf("receiver: %+v", received)
		}
		if sent := c.counters(other); sent.StreamsSent != 1 || sent.StreamBytesSent != received.StreamBytesReceived || sent.StreamBytesAgain != 0 {
			t.Errorf("source: %+v", sent)
		}
		if led := c.counters(leader); led.StreamBytesSent != 0 {
			t.Errorf("the leader sent %d bytes although a follower could", led.StreamBytesSent)
		}
		if n := len(c.eventsOf(engine.EventSnapshotInstalled)); n != 1 {
			t.Errorf("%d events of an installation", n)
		}
		c.run(time.Minute) // whatever was held is let go of
		if kind == rsm.KindOnDisk {
			for i, s := range c.list {
				if files, err := s.fs.List("snapshots"); err != nil || len(files) != 0 {
					t.Errorf("host %d keeps %q: %v", i+1, files, err)
				}
			}
		}
	})
}
