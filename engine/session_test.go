package engine_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
)

// session proposes one attempt of a call on a host and waits for its outcome.
func (c *testCluster) session(h *testHost, shard uint64, fields engine.SessionFields, command string) (result rsm.Result, err error) {
	c.t.Helper()
	open := true
	if refused := h.replicas[shard].ProposeSession(fields, []byte(command), func(r rsm.Result, e error) { result, err, open = r, e, false }); refused != nil {
		return result, refused
	}
	c.until(time.Minute, "outcome of "+command, func() bool { return !open })
	return result, err
}

// Calls go to the leader from any host, in batches that hold plain commands, too, and a call that is proposed on all hosts is applied once, with one
// answer for all.
func TestSessionsOnEveryHost(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	c.waitLeader(1)
	if _, err := c.session(c.hosts[0], 1, engine.SessionFields{Client: 7, Series: 1}, "too early"); !errors.Is(err, engine.ErrSessionExpired) || engine.MaybeApplied(err) {
		t.Fatalf("without a session: %v", err)
	}
	register := engine.SessionFields{Client: 7, Series: rsm.SeriesOpen}
	if _, err := c.session(c.hosts[0], 1, register, string(rsm.RegisterCommand(10))); err != nil {
		t.Fatal(err)
	}
	const calls = 20
	type attempt struct {
		host, call int
		result     rsm.Result
	}
	var answers []attempt
	for call := range calls {
		for i, h := range c.hosts {
			fields := engine.SessionFields{Client: 7, Series: uint64(call + 1)}
			done := func(result rsm.Result, err error) {
				if err != nil {
					t.Errorf("call %d on host %d: %v", call, i, err)
				}
				answers = append(answers, attempt{i, call, result})
			}
			if err := h.replicas[1].ProposeSession(fields, fmt.Append(nil, "call ", call), done); err != nil {
				t.Fatal(err)
			}
			if err := h.replicas[1].Propose(fmt.Append(nil, "plain ", i, " ", call), 0, func(_ rsm.Result, err error) {
				if err != nil {
					t.Error(err)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.until(time.Minute, "all answers", func() bool { return len(answers) == 3*calls })
	applied := func(h *testHost) (n int) { return len(h.machines[1].commands) }
	c.until(time.Minute, "all applied everywhere", func() bool {
		return applied(c.hosts[0]) == 4*calls && applied(c.hosts[1]) == 4*calls && applied(c.hosts[2]) == 4*calls
	})
	values := map[int]uint64{}
	for _, a := range answers {
		if value := values[a.call]; value != 0 && value != a.result.Value {
			t.Errorf("call %d was answered %d and %d", a.call, value, a.result.Value)
		}
		values[a.call] = a.result.Value
		if command := string(c.hosts[0].machines[1].commands[a.result.Value-1]); command != fmt.Sprint("call ", a.call) {
			t.Errorf("call %d was answered with the result of %q", a.call, command)
		}
	}
	acknowledged := engine.SessionFields{Client: 7, Series: calls + 1, Responded: calls}
	if _, err := c.session(c.hosts[1], 1, acknowledged, "next"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.session(c.hosts[2], 1, engine.SessionFields{Client: 7, Series: 1}, "late"); !errors.Is(err, engine.ErrCallForgotten) {
		t.Errorf("a call that was acknowledged: %v", err)
	}
	if _, err := c.session(c.hosts[2], 1, engine.SessionFields{Client: 7, Series: calls + 2 + rsm.MaxSessionWindow}, "far"); !errors.Is(err, engine.ErrSessionWindow) {
		t.Errorf("a call that is too far ahead: %v", err)
	}
	if _, err := c.session(c.hosts[2], 1, engine.SessionFields{Client: 8, Series: rsm.SeriesOpen}, ""); !errors.Is(err, rsm.ErrBadSession) {
		t.Errorf("a malformed registration: %v", err)
	}
	if applied(c.hosts[0]) != 4*calls+1 {
		t.Errorf("%d commands applied", applied(c.hosts[0]))
	}
}

// The leader commits a call and is cut off before it can say so; the call is proposed again on the next leader.
func TestACallSurvivesItsLeader(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	old := c.waitLeader(1)
	register := engine.SessionFields{Client: 7, Series: rsm.SeriesOpen}
	if _, err := c.session(old, 1, register, string(rsm.RegisterCommand(10))); err != nil {
		t.Fatal(err)
	}
	outcome := errors.New("open")
	call := engine.SessionFields{Client: 7, Series: 1}
	if err := old.replicas[1].ProposeSession(call, []byte("once"), func(_ rsm.Result, err error) { outcome = err }); err != nil {
		t.Fatal(err)
	}
	var other *testHost
	c.until(time.Minute, "another host has it", func() bool {
		for _, h := range c.hosts {
			status := raft.Status{}
			h.replicas[1].Status(func(s raft.Status, _ error) { status = s })
			h.workers[0].RunOnce(c.now)
			if h != old && status.LastIndex > h.replicas[1].Applied() {
				other = h
			}
		}
		return other != nil
	})
	c.cutOff(old, true)
	c.until(time.Minute, "another leader", func() bool { l := c.leader(1); return l != nil && l != old })
	next := c.leader(1)
	result, err := c.session(next, 1, call, "once")
	if err != nil || result.Value != 1 {
		t.Fatalf("proposed again: %+v, %v", result, err)
	}
	c.cutOff(old, false)
	c.until(time.Minute, "the first attempt is over", func() bool { return outcome == nil || engine.MaybeApplied(outcome) })
	c.until(time.Minute, "caught up", func() bool { return old.replicas[1].Applied() == next.replicas[1].Applied() })
	for _, h := range c.hosts {
		if n := len(h.machines[1].commands); n != 1 {
			t.Errorf("%s applied %d commands: %q", h.address, n, h.machines[1].commands)
		}
	}
}
