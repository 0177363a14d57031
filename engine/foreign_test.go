package engine_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// hostile is a transport that panics while told to.
type hostile struct {
	transport.Transport
	on *bool
}

type hostilePeer struct {
	transport.Peer
	on *bool
}

func (h hostile) Peer(address string) transport.Peer {
	if *h.on {
		panic("no way to " + address)
	}
	return hostilePeer{h.Transport.Peer(address), h.on}
}

func (p hostilePeer) Send(lane transport.Lane, messages []raftpb.Message) int {
	if *p.on {
		panic("cannot send")
	}
	return p.Peer.Send(lane, messages)
}

// hostileHandler panics at every record, and at everything else.
type hostileHandler struct{ slog.Handler }

func (hostileHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (hostileHandler) Handle(context.Context, slog.Record) error { panic("cannot log") }
func (hostileHandler) WithAttrs([]slog.Attr) slog.Handler        { panic("no attributes") }
func (hostileHandler) WithGroup(string) slog.Handler             { panic("no groups") }

// A transport that panics has refused, a log handler that panics has dropped a record. Neither fences a replica or ends a worker, and
// when the transport is sound again the shard works.
func TestForeignPanicsEndNothing(t *testing.T) {
	on := false
	c := newTestCluster(t, 3, func(o *engine.Options) {
		o.Transport = hostile{o.Transport, &on}
		o.Logger = slog.New(hostileHandler{})
	})
	c.start(1)
	leader := c.waitLeader(1)
	on = true
	if err := leader.replicas[1].Propose([]byte("x"), 0, nil); err != nil {
		t.Fatal(err)
	}
	c.run(10 * time.Second)
	panics := uint64(0)
	for _, h := range c.hosts {
		counters := h.engine.Counters()
		panics += counters.TransportPanics
		if counters.ReplicasFenced != 0 {
			t.Errorf("%s: %d replicas fenced", h.address, counters.ReplicasFenced)
		}
	}
	if panics == 0 {
		t.Error("the transport did not panic")
	}
	on = false
	c.until(20*time.Second, "the shard works again", func() bool {
		leader := c.leader(1)
		if leader == nil {
			return false
		}
		_ = leader.replicas[1].Propose([]byte("y"), 0, nil)
		c.run(100 * time.Millisecond)
		for _, h := range c.hosts {
			if n := len(h.machines[1].commands); n == 0 || string(h.machines[1].commands[n-1]) != "y" {
				return false
			}
		}
		return true
	})
}

func TestGuardedLogger(t *testing.T) {
	logger := engine.GuardLogger(slog.New(hostileHandler{}))
	logger.With("a", 1).WithGroup("b").Error("c", "d", 2)
	if engine.GuardLogger(logger) != logger {
		t.Error("guarded twice")
	}
}

// A host whose peers the transport does not know, because it panicked when asked, refuses what is to be sent there.
func TestTransportThatKnowsNobody(t *testing.T) {
	on := true
	c := newTestCluster(t, 3, func(o *engine.Options) { o.Transport = hostile{o.Transport, &on} })
	c.start(1)
	c.run(5 * time.Second)
	if c.leader(1) != nil {
		t.Error("elected without a message")
	}
	for _, h := range c.hosts {
		if n := h.engine.Counters().ReplicasFenced; n != 0 {
			t.Errorf("%d replicas fenced", n)
		}
	}
}
