package engine_test

import (
	"errors"
	"hash/crc32"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/plugin/memnet"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
	"github.com/flotilla-raft/flotilla/transport"
)

// setFaults gives every link the same faults.
func (c *streamCluster) setFaults(f memnet.Faults) {
	c.t.Helper()
	for _, a := range c.hosts {
		for _, b := range c.hosts {
			if err := c.network.SetFaults(a.address, b.address, f); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// total adds up a counter of all hosts.
func (c *streamCluster) total(of func(engine.Counters) uint64) (sum uint64) {
	for i := range c.hosts {
		sum += of(c.counters(i))
	}
	return sum
}

func bytesSent(c engine.Counters) uint64     { return c.StreamBytesSent }
func streamsFailed(c engine.Counters) uint64 { return c.StreamsFailed }

// Five cuts cost at most a tenth of the snapshot, and the stream goes on where it was. Found with it: a follower whose window was full of what a
// cut had lost was never asked again once the log was compacted behind the window.
func TestFiveCutsCostATenth(t *testing.T) {
	forKinds(t, streamed, func(t *testing.T, kind rsm.Kind) {
		c := newStreamCluster(t, 3, kind, nil)
		_, _, lagging := c.behind(600)
		c.cutOff(lagging, false)
		c.setFaults(memnet.Faults{DelayMin: time.Millisecond, DelayMax: 2 * time.Millisecond})
		const size = 600 * 190
		for cut := range uint64(5) {
			c.until(time.Minute, "a part has come", func() bool { return c.counters(lagging).StreamBytesReceived >= (cut+1)*size/6 })
			c.breakAll(lagging)
		}
		c.waitState(lagging, 600)
		c.run(time.Second)
		received := c.counters(lagging)
		if received.StreamsReceived != 1 || received.StreamsFailed != 0 || received.SnapshotsInstalled != 1 {
			t.Errorf("%+v", received)
		}
		if sent := c.total(bytesSent); float64(sent) > 1.1*float64(received.StreamBytesReceived) {
			t.Errorf("%d bytes were sent for a snapshot of %d", sent, received.StreamBytesReceived)
		}
	})
}

// Whatever the network does to frames, the state that arrives is the one that was sent.
func TestAStreamSurvivesABadNetwork(t *testing.T) {
	forKinds(t, streamed, func(t *testing.T, kind rsm.Kind) {
		c := newStreamCluster(t, 3, kind, nil)
		_, _, lagging := c.behind(200)
		c.cutOff(lagging, false)
		c.setFaults(memnet.Faults{DelayMin: time.Millisecond, DelayMax: 20 * time.Millisecond, Loss: 0.05, Reorder: 0.1, Duplicate: 0.1})
		c.waitState(lagging, 200)
		c.setFaults(memnet.Faults{})
		c.fill(201, 205)
		for i := range 3 {
			c.waitState(i, 205)
		}
	})
}

// A limit of bytes per second is kept within a tenth, on the engine's clock: that of one stream, and that of the host.
func TestTheRateOfAStream(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*engine.Options)
	}{
		{"stream", func(o *engine.Options) { o.SnapshotStreamBytesPerSecond = 50_000 }},
		{"host", func(o *engine.Options) { o.SnapshotSendBytesPerSecond = 50_000 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newStreamCluster(t, 3, rsm.KindConcurrent, test.change)
			_, _, lagging := c.behind(800)
			c.cutOff(lagging, false)
			received := func() uint64 { return c.counters(lagging).StreamBytesReceived }
			c.until(time.Minute, "the stream has begun", func() bool { return received() > 0 })
			began, first := c.now, received()
			c.until(time.Minute, "most of it has come", func() bool { return received() > 140_000 })
			seconds := float64(c.now-began) / 1e9
			if rate := float64(received()-first) / seconds; rate > 55_000 || rate < 45_000 {
				t.Errorf("%.0f bytes per second, the limit is 50000", rate)
			}
			c.waitState(lagging, 800)
			if again := c.total(func(c engine.Counters) uint64 { return c.StreamBytesAgain }); again != 0 {
				t.Errorf("%d bytes were sent again although nothing was lost", again)
			}
		})
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// change lets the n-th chunk with bytes that a host receives be changed, and every one behind it with all set.
func (s *streamHost) change(n int, all bool, change func(m *raftpb.Message)) {
	seen := 0
	s.tamper = func(lane transport.Lane, m *raftpb.Message) bool {
		if m.Type == raftpb.MessageSnapshotChunk && len(m.Payload) > 0 {
			if seen++; seen == n || all && seen > n {
				m.Payload = append([]byte(nil), m.Payload...)
				change(m)
			}
		}
		return true
	}
}

// A chunk that is damaged on the way is not taken, and comes again.
func TestADamagedChunkComesAgain(t *testing.T) {
	c := newStreamCluster(t, 3, rsm.KindMemory, nil)
	_, _, lagging := c.behind(100)
	c.list[lagging].change(5, false, func(m *raftpb.Message) { m.Payload[3] ^= 1 })
	c.cutOff(lagging, false)
	c.waitState(lagging, 100)
	if got := c.counters(lagging); got.ChunksDamaged != 1 || got.StreamsReceived != 1 || got.StreamsFailed != 0 {
		t.Errorf("%+v", got)
	}
}

// A snapshot that cannot be used is refused with its reason, nothing of it stays, the replica is as it was, and another source serves.
func TestASnapshotThatCannotBeUsedIsRefused(t *testing.T) {
	forged := func(place int, value byte) func(m *raftpb.Message) {
		return func(m *raftpb.Message) {
			m.Payload[place] ^= value
			m.Request = uint64(crc32.Checksum(m.Payload, castagnoli))
		}
	}
	newer := func(m *raftpb.Message) {
		m.Payload[8]++
		sealSnapshotHeader(m.Payload)
		m.Request = uint64(crc32.Checksum(m.Payload, castagnoli))
	}
	for _, test := range []struct {
		name  string
		chunk int
		forge func(m *raftpb.Message)
		want  error
	}{
		{"foreign", 1, forged(0, 1), snapshot.ErrForeign},
		{"newer version", 1, newer, snapshot.ErrVersion},
		{"rotten version", 1, forged(8, 2), snapshot.ErrDamaged},
		{"header", 1, forged(20, 1), snapshot.ErrDamaged},
		{"state", 3, forged(20, 1), snapshot.ErrDamaged},
		{"shorter than announced", 3, func(m *raftpb.Message) { m.Commit = m.HintTerm + 1 }, snapshot.ErrDamaged},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newStreamCluster(t, 3, rsm.KindMemory, nil)
			_, _, lagging := c.behind(100)
			c.list[lagging].change(test.chunk, false, test.forge)
			c.cutOff(lagging, false)
			c.until(time.Minute, "it is refused", func() bool { return len(c.eventsOf(engine.EventStreamFailed)) > 0 })
			event := c.eventsOf(engine.EventStreamFailed)[0]
			if !errors.Is(event.Err, test.want) || !errors.Is(event.Err, engine.ErrStreamFailed) || event.Reason != raftpb.ReasonDamaged {
				t.Errorf("%+v", event)
			}
			if !c.has(lagging, 2) || len(c.list[lagging].directory.List(1, uint64(lagging+1))) != 0 {
				t.Error("something of it was installed")
			}
			c.waitState(lagging, 100)
			if files, _ := c.list[lagging].fs.List("snapshots"); len(files) != 1 {
				t.Errorf("what is left: %q", files)
			}
		})
	}
}

// A state machine refuses a state of a later version before its log is touched.
func TestAStateOfALaterVersionIsRefused(t *testing.T) {
	c := newStreamCluster(t, 3, rsm.KindMemory, nil)
	for _, s := range c.list {
		s.version = 2
	}
	_, _, lagging := c.behind(50)
	restart := func(version uint64) { // with another program
		c.crash(lagging)
		c.list[lagging].version = version
		c.startOn(lagging, nil)
	}
	restart(1)
	c.cutOff(lagging, false)
	c.until(time.Minute, "it is refused", func() bool { return len(c.eventsOf(engine.EventStreamFailed)) > 0 })
	if event := c.eventsOf(engine.EventStreamFailed)[0]; !errors.Is(event.Err, rsm.ErrStateVersion) {
		t.Errorf("%+v", event)
	}
	restart(2)
	c.waitState(lagging, 50)
}

// A source that stops in the middle is replaced by another one.
func TestASourceThatStopsIsReplaced(t *testing.T) {
	forKinds(t, streamed, func(t *testing.T, kind rsm.Kind) {
		c := newStreamCluster(t, 3, kind, func(o *engine.Options) { o.SnapshotStreamBytesPerSecond = 20_000 })
		_, other, lagging := c.behind(300)
		c.cutOff(lagging, false)
		c.until(time.Minute, "a part has come", func() bool { return c.counters(lagging).StreamBytesReceived > 10_000 })
		if c.counters(other).StreamBytesSent == 0 {
			t.Fatal("the follower does not send")
		}
		stopped := false
		c.hosts[other].engine.StopReplica(c.hosts[other].replicas[1], func(err error) {
			if stopped = true; err != nil {
				t.Errorf("stop: %v", err)
			}
		})
		c.until(5*time.Second, "the source stops at once", func() bool { return stopped })
		c.waitState(lagging, 300)
		c.fill(301, 303)
		c.waitState(lagging, 303)
	})
}

// A source that loses its power in the middle is replaced, or comes back and begins anew: bytes of two views are not mixed.
func TestASourceThatCrashesBeginsAnew(t *testing.T) {
	forKinds(t, streamed, func(t *testing.T, kind rsm.Kind) {
		c := newStreamCluster(t, 3, kind, func(o *engine.Options) { o.SnapshotStreamBytesPerSecond = 20_000 })
		_, other, lagging := c.behind(300)
		c.cutOff(lagging, false)
		c.until(time.Minute, "a part has come", func() bool { return c.counters(lagging).StreamBytesReceived > 10_000 })
		c.crash(other)
		c.startOn(other, nil)
		for i := range 3 {
			c.waitState(i, 300)
		}
	})
}

// A full or failing disk of the receiver fails the stream with its reason, leaves the replica as it was, and is tried again.
func TestTheReceiversDiskFails(t *testing.T) {
	t.Run("full", func(t *testing.T) {
		c := newStreamCluster(t, 3, rsm.KindMemory, func(o *engine.Options) { o.SnapshotStreamBytesPerSecond = 20_000 })
		_, _, lagging := c.behind(200)
		c.cutOff(lagging, false)
		c.until(time.Minute, "a part has come", func() bool { return c.counters(lagging).StreamBytesReceived > 10_000 })
		c.hosts[lagging].engine.SetDiskFull(true)
		c.until(time.Minute, "it is given up", func() bool { return len(c.eventsOf(engine.EventStreamFailed)) > 0 })
		if event := c.eventsOf(engine.EventStreamFailed)[0]; !errors.Is(event.Err, engine.ErrDiskFull) || event.Reason != raftpb.ReasonFull {
			t.Errorf("%+v", event)
		}
		if files, _ := c.list[lagging].fs.List("snapshots"); len(files) != 0 {
			t.Errorf("what is left: %q", files)
		}
		c.hosts[lagging].engine.SetDiskFull(false)
		c.waitState(lagging, 200)
	})
	for _, test := range []struct {
		name string
		at   func(op errorfs.Op) bool
	}{
		{"create", func(op errorfs.Op) bool { return op.Kind == errorfs.OpCreate }},
		{"write", func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileWrite }},
		{"sync", func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSync && op.Path != "snapshots" }},
		{"rename", func(op errorfs.Op) bool { return op.Kind == errorfs.OpRename }},
		{"sync of the directory", func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSync && op.Path == "snapshots" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newStreamCluster(t, 3, rsm.KindMemory, nil)
			_, _, lagging := c.behind(100)
			failed := 0
			c.list[lagging].fails = func(op errorfs.Op) error {
				if test.at(op) {
					failed++
					return errInjectedDisk
				}
				return nil
			}
			c.cutOff(lagging, false)
			c.until(time.Minute, "it is given up", func() bool { return len(c.eventsOf(engine.EventStreamFailed)) > 0 })
			if event := c.eventsOf(engine.EventStreamFailed)[0]; !errors.Is(event.Err, errInjectedDisk) || event.Reason != raftpb.ReasonFailed {
				t.Errorf("%+v", event)
			}
			if !c.has(lagging, 2) || failed == 0 {
				t.Error("something of it was installed")
			}
			c.list[lagging].fails = nil
			c.waitState(lagging, 100)
			c.fill(101, 103)
			c.waitState(lagging, 103)
		})
	}
}

var errInjectedDisk = errors.New("the disk fails as it was told to")

// A receiver that nothing comes to gives up, and the leader finds another way.
func TestAStreamOfWhichNothingComesIsGivenUp(t *testing.T) {
	c := newStreamCluster(t, 3, rsm.KindMemory, nil)
	_, other, lagging := c.behind(100)
	c.list[lagging].tamper = func(lane transport.Lane, m *raftpb.Message) bool {
		return m.Type != raftpb.MessageSnapshotChunk || m.From != uint64(other+1)
	}
	c.cutOff(lagging, false)
	before := c.now
	c.waitState(lagging, 100)
	if took := c.now - before; took < raft.Instant(20*time.Second) || c.total(streamsFailed) == 0 {
		t.Errorf("after %v, %d streams failed", took, c.total(streamsFailed))
	}
}
