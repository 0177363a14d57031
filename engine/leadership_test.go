package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// gossip is a state machine that notes everything that it is told, in order.
type gossip struct {
	recorder
	told    []string
	closed  bool
	onStart func()
}

func (g *gossip) note(format string, arguments ...any) {
	g.told = append(g.told, fmt.Sprintf(format, arguments...))
}

func (g *gossip) Update(entries []rsm.Entry) error {
	for i := range entries {
		g.note("command %s", entries[i].Command)
	}
	return g.recorder.Update(entries)
}

func (g *gossip) LeaderStarted(term uint64) {
	g.note("started %d", term)
	if g.onStart != nil {
		g.onStart()
	}
}
func (g *gossip) LeaderStopped(term uint64) { g.note("stopped %d", term) }
func (g *gossip) MembershipApplied(_ uint64, membership raftpb.Membership) {
	g.note("%d members", len(membership.Members))
}
func (g *gossip) Close() error { g.note("closed"); g.closed = true; return nil }

// startGossips starts a shard whose machines gossip.
func (c *testCluster) startGossips() []*gossip {
	var machines []*gossip
	for i, h := range c.hosts {
		machine := &gossip{}
		machines = append(machines, machine)
		options := engine.ReplicaOptions{ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members()}
		h.engine.StartReplica(options, func(uint64, uint64) (rsm.StateMachine, error) { return machine, nil }, func(r *engine.Replica, err error) {
			if err != nil {
				c.t.Errorf("start: %v", err)
			}
			h.replicas[1] = r
		})
	}
	c.until(time.Second, "started", func() bool {
		return !slices.ContainsFunc(c.hosts, func(h *testHost) bool { return h.replicas[1] == nil })
	})
	return machines
}

// A state machine hears of its leadership once the first entry of the term is applied, of its end behind all that it was handed
// meanwhile, each once, and of nothing after its Close.
func TestStateMachinesHearOfLeadership(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	machines := c.startGossips()
	for round := range 6 {
		h := c.waitLeader(1)
		if _, err := c.propose(h, 1, fmt.Sprint(round)); err != nil {
			t.Fatal(err)
		}
		target := uint64(slices.Index(c.hosts, h)+1)%3 + 1
		if err := c.transferred(h, 1, target); err != nil {
			t.Fatal(err)
		}
	}
	for i, h := range c.hosts {
		h.engine.StopReplica(h.replicas[1], func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
		c.until(time.Minute, "closed", func() bool { return machines[i].closed })
	}
	leaderships := 0
	for i, machine := range machines {
		leading := ""
		for n, told := range machine.told {
			switch {
			case strings.HasPrefix(told, "started "):
				if leading != "" {
					t.Errorf("host %d: %s while leading", i, told)
				}
				leading = strings.TrimPrefix(told, "started ")
				leaderships++
			case strings.HasPrefix(told, "stopped "):
				if strings.TrimPrefix(told, "stopped ") != leading {
					t.Errorf("host %d: %s while leading %q", i, told, leading)
				}
				leading = ""
			case told == "closed":
				if leading != "" || n != len(machine.told)-1 {
					t.Errorf("host %d: closed too early", i)
				}
			}
		}
		if !slices.Contains(machine.told, "3 members") {
			t.Errorf("host %d was not told of its members", i)
		}
	}
	if leaderships < 7 {
		t.Errorf("%d leaderships were told of, at least 7 have been", leaderships)
	}
	// What a leader itself proposed stands between its beginning and its end.
	first := machines[slices.IndexFunc(machines, func(g *gossip) bool {
		return slices.Index(g.told, "command 0") >= 0 && strings.HasPrefix(strings.Join(g.told, ";"), "3 members;started")
	})].told
	if begun, command, ended := slices.IndexFunc(first, func(s string) bool { return strings.HasPrefix(s, "started") }), slices.Index(first, "command 0"),
		slices.IndexFunc(first, func(s string) bool { return strings.HasPrefix(s, "stopped") }); begun > command || command > ended {
		t.Errorf("the first leader was told %q", first)
	}
}

func TestAMachineThatPanicsOverItsLeadershipIsQuarantined(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	machines := c.startGossips()
	machines[0].onStart = func() { panic("no") }
	_, err := c.propose(c.hosts[0], 1, "x")
	for err == nil || errors.Is(err, engine.ErrNoLeader) {
		c.run(100 * time.Millisecond)
		_, err = c.propose(c.hosts[0], 1, "x")
	}
	if !errors.Is(err, engine.ErrQuarantined) {
		t.Fatalf("got %v", err)
	}
}
