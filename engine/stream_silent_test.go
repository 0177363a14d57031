package engine_test

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
)

// A source that dies takes its stream along. The receiver is half of what is left of the shard: while it waits nothing is committed. The leader
// names another source as soon as it misses the first one, or a new leader does or has the log, and the receiver goes over. Found with
// power cuts: the receiver went on waiting for half a minute.
func TestASourceThatDiesIsReplacedSoon(t *testing.T) {
	kinds := streamed
	if testing.Short() { // it is one goroutine: the race detector finds nothing in it
		kinds = streamed[:1]
	}
	for _, test := range []struct {
		name               string
		leads, otherHasLog bool // the source leads; the one who is left has not compacted its log
	}{
		{"a follower", false, false},
		{"a follower, and the leader had to send itself", false, true},
		{"the leader", true, false},
		{"the leader, and the log is left", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			forKinds(t, kinds, func(t *testing.T, kind rsm.Kind) {
				c := newStreamCluster(t, 3, kind, slowly)
				c.also = func(o *engine.ReplicaOptions) { o.Raft.DisableFollowerSnapshots = test.leads }
				source, left, lagging := c.behind(300)
				if !test.leads {
					source, left = left, source
				}
				if !test.otherHasLog {
					c.take(source)
					c.take(left)
				}
				c.cutOff(lagging, false)
				c.until(time.Minute, "a part has come", func() bool { return c.counters(lagging).StreamBytesReceived > 10_000 })
				if c.counters(source).StreamBytesSent == 0 || c.counters(left).StreamBytesSent != 0 {
					t.Fatal("another one sends")
				}
				c.cutOff(source, true)
				began := c.now
				c.until(time.Minute, "something else comes", func() bool {
					return c.counters(left).StreamBytesSent > 0 || test.leads && test.otherHasLog && c.has(lagging, 300)
				})
				if took := c.now - began; took > raft.Instant(5*time.Second) {
					t.Errorf("after %v", time.Duration(took))
				}
				c.waitState(lagging, 300)
				c.fill(301, 303)
				c.waitState(lagging, 303)
				c.cutOff(source, false)
				c.waitState(source, 303)
				c.run(time.Minute)
				for i := range c.hosts {
					if n := c.hosts[i].engine.StreamsUnderWay(); n != 0 {
						t.Errorf("host %d holds %d streams", i+1, n)
					}
				}
			})
		})
	}
}

// A receiver that is cut off from everybody has no other way: its stream goes on where it was, though the cut took longer than it waits for a
// source that it can do without.
func TestALongCutOfTheReceiverRestartsNothing(t *testing.T) {
	forKinds(t, streamed, func(t *testing.T, kind rsm.Kind) {
		c, _, _, lagging := streaming(t, kind)
		c.cutOff(lagging, true)
		c.run(10 * time.Second)
		c.cutOff(lagging, false)
		c.waitState(lagging, 300)
		if got := c.counters(lagging); got.StreamsReceived != 1 || got.StreamsFailed != 0 {
			t.Errorf("%+v", got)
		}
	})
}
