package engine_test

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/transport"
)

// What is kept of views until their receivers confirm it is bounded by the places for streams, not by how many are asked for. Found: a view was out
// of its place as soon as its last byte was made, and a window of each stream could be kept, 2 GiB for all that are served at a time.
func TestTheMemoryOfStreamsIsBounded(t *testing.T) {
	c := newStreamCluster(t, 5, rsm.KindOnDisk, func(o *engine.Options) { o.StreamWorkers = 1 })
	c.also = func(o *engine.ReplicaOptions) { o.Raft.DisableFollowerSnapshots = true }
	c.startAll()
	c.fill(1, 2)
	leader := c.led()
	lagging := []int{(leader + 1) % 5, (leader + 2) % 5}
	for _, i := range lagging {
		c.waitState(i, 2)
		c.cutOff(i, true)
	}
	const words = 35 // less than a window
	c.fill(3, words)
	c.take(leader)
	c.list[leader].tamper = func(_ transport.Lane, m *raftpb.Message) bool {
		return m.Type != raftpb.MessageSnapshotPull || m.HintTerm == 0 // nothing is confirmed
	}
	for _, i := range lagging {
		c.cutOff(i, false)
	}
	e := c.hosts[leader].engine
	c.until(time.Minute, "both are asked for", func() bool { return e.StreamsUnderWay() == 2 && e.StreamBytesKept() > 0 })
	for range 200 {
		c.run(10 * time.Millisecond)
		if kept := e.StreamBytesKept(); kept > testWindow+testChunk {
			t.Fatalf("%d bytes are kept, a window has %d", kept, testWindow)
		}
	}
	c.list[leader].tamper = nil
	for _, i := range lagging {
		c.waitState(i, words)
	}
	c.run(time.Minute)
	if n := e.StreamsUnderWay(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}
