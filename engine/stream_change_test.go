package engine_test

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// slowly makes a stream last seconds of the cluster's time.
func slowly(o *engine.Options) { o.SnapshotStreamBytesPerSecond = 20_000 }

// streaming makes a cluster in which a stream is under way.
func streaming(t *testing.T, kind rsm.Kind) (c *streamCluster, leader, other, lagging int) {
	c = newStreamCluster(t, 3, kind, slowly)
	leader, other, lagging = c.behind(300)
	c.cutOff(lagging, false)
	c.until(time.Minute, "a part has come", func() bool { return c.counters(lagging).StreamBytesReceived > 10_000 })
	return c, leader, other, lagging
}

// A change of leaders in the middle of a stream ends neither the stream nor the shard.
func TestTheLeaderChangesDuringAStream(t *testing.T) {
	forKinds(t, streamed, func(t *testing.T, kind rsm.Kind) {
		c, leader, other, lagging := streaming(t, kind)
		done := false
		c.hosts[leader].replicas[1].Transfer(uint64(other+1), func(err error) {
			if done = true; err != nil {
				t.Errorf("transfer: %v", err)
			}
		})
		c.until(10*time.Second, "leadership is handed over", func() bool { return done })
		c.waitState(lagging, 300)
		if got := c.counters(lagging); got.StreamsReceived != 1 {
			t.Errorf("%d streams were received", got.StreamsReceived)
		}
		c.fill(301, 303)
		for i := range 3 {
			c.waitState(i, 303)
		}
	})
}

// A receiver that is stopped in the middle leaves nothing, and begins again when it is started.
func TestAReceiverThatStopsLeavesNothing(t *testing.T) {
	forKinds(t, streamed, func(t *testing.T, kind rsm.Kind) {
		c, _, _, lagging := streaming(t, kind)
		stopped := false
		s := c.list[lagging]
		s.engine.StopReplica(s.replicas[1], func(err error) {
			if stopped = true; err != nil {
				t.Errorf("stop: %v", err)
			}
		})
		c.until(5*time.Second, "it stops at once", func() bool { return stopped })
		if files, _ := s.fs.List("snapshots"); len(files) != 0 {
			t.Errorf("what is left: %q", files)
		}
		c.startOn(lagging, nil)
		c.waitState(lagging, 300)
	})
}

// A receiver that is removed from the shard in the middle is told, and stops when it is asked to; the source lets go of the stream.
func TestAReceiverThatIsRemoved(t *testing.T) {
	c, leader, _, lagging := streaming(t, rsm.KindOnDisk)
	if _, err := c.testCluster.change(c.hosts[leader], raftpb.MemberChange{ReplicaID: uint64(lagging + 1)}); err != nil {
		t.Fatal(err)
	}
	c.until(time.Minute, "it is told", func() bool { return len(c.eventsOf(engine.EventReplicaRemoved)) > 0 })
	stopped := false
	c.hosts[lagging].engine.StopReplica(c.hosts[lagging].replicas[1], func(error) { stopped = true })
	c.until(5*time.Second, "it stops", func() bool { return stopped })
	c.fill(301, 303)
	c.run(time.Minute) // beyond the patience of a source
	for i := range c.hosts {
		if n := c.hosts[i].engine.StreamsUnderWay(); n != 0 {
			t.Errorf("host %d holds %d streams", i+1, n)
		}
	}
}

// The power fails at the receiver at many points of receiving and installing: it comes back, with its own disk, and ends with the state of the
// others; nothing half installed is ever applied to.
func TestAPowerCutAtAnyPointOfAnInstallation(t *testing.T) {
	forKinds(t, streamed, func(t *testing.T, kind rsm.Kind) {
		for point := 0; ; point++ {
			c, lagging, installed := cutInstallation(t, kind, point, false)
			c.waitState(lagging, 40)
			c.fill(41, 42)
			c.waitState(lagging, 42)
			if n := len(c.eventsOf(engine.EventReplicaQuarantined)) + len(c.eventsOf(engine.EventReplicaDamaged)); n != 0 {
				t.Fatalf("point %d: %d replicas were lost", point, n)
			}
			if installed {
				break
			}
		}
	})
}

// The test above would notice: if syncs of the directory of snapshots do nothing, a replica comes back damaged from some point (R30).
func TestAPowerCutWithoutSyncsDamagesAnInstallation(t *testing.T) {
	forKinds(t, streamed, func(t *testing.T, kind rsm.Kind) {
		for point := 0; ; point++ {
			c, _, installed := cutInstallation(t, kind, point, true)
			if len(c.eventsOf(engine.EventReplicaDamaged)) > 0 {
				return
			}
			if installed {
				t.Fatalf("%d points, and nothing was damaged", point)
			}
		}
	})
}

// cutInstallation brings a cluster to some point of receiving and installing, cuts the power of the receiver, and starts it again.
func cutInstallation(t *testing.T, kind rsm.Kind, point int, withoutSyncs bool) (c *streamCluster, lagging int, installed bool) {
	c = newStreamCluster(t, 3, kind, nil)
	_, _, lagging = c.behind(40)
	s := c.list[lagging]
	s.withoutSyncs = withoutSyncs
	c.cutOff(lagging, false)
	for steps := 0; steps < point && !installed; {
		if c.step() {
			steps++
		} else {
			c.advance()
		}
		installed = c.counters(lagging).SnapshotsInstalled > 0 && steps > 2
	}
	c.crash(lagging)
	s.withoutSyncs = false
	c.startOn(lagging, nil)
	return c, lagging, installed
}

// Once an attempt has failed the log is not kept for a follower any more. One that then installs a snapshot behind which the log is gone already
// needs another, and is offered it. Found with a fresh replica under load, which was told of the first one for ever.
func TestALogThatGoesOnDuringAStream(t *testing.T) {
	c := newStreamCluster(t, 3, rsm.KindMemory, slowly)
	leader, _, lagging := c.behind(200)
	c.list[lagging].change(1, false, func(m *raftpb.Message) { m.Commit = 1 })
	c.cutOff(lagging, false)
	c.until(time.Minute, "an attempt fails", func() bool { return len(c.eventsOf(engine.EventStreamFailed)) > 0 })
	before := c.counters(lagging).StreamBytesReceived
	c.until(time.Minute, "another one is under way", func() bool { return c.counters(lagging).StreamBytesReceived > before+5000 })
	c.fill(201, 220)
	c.take(leader)
	if c.counters(lagging).SnapshotsInstalled != 0 {
		t.Fatal("the stream was too quick for the test")
	}
	c.waitState(lagging, 220)
	c.run(time.Second)
	if n := c.counters(lagging).SnapshotsInstalled; n != 2 {
		t.Errorf("%d snapshots were installed, want 2", n)
	}
}
