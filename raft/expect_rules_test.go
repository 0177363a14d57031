package raft

import (
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestExpectRules holds rules that are true and rules that are not against one small history: an expectation that can not
// fail is worth nothing.
func TestExpectRules(t *testing.T) {
	var trace strings.Builder
	s := &script{t: t, d: &datadriven.TestData{}, trace: &trace}
	run := func(line string) {
		t.Helper()
		command, arguments, err := datadriven.ParseLine(line)
		if err != nil {
			t.Fatal(err)
		}
		s.d.Cmd, s.d.CmdArgs = command, arguments
		scriptCommands[command](s)
	}
	for _, line := range []string{
		"new replicas=3", "elect n=1", "mark name=elected", "propose n=1 commands=a/b", "settle", "propose n=2 commands=c",
		"isolate n=3", "settle", "stop n=3", "crash n=3", "propose n=1 commands=d",
	} {
		run(line)
	}
	for line, want := range map[string]bool{
		"leader n=1": true, "leader n=2": false, "leader n=1 term=1": true, "leader n=1 term=2+": false, "no-leader": false,
		"replica n=1/2 commit=5 role=leader/follower": true, "replica n=1/2 role=leader": false,
		"replica n=1 voters=1,2,3 learners=none incarnations=11,12,13 uncommitted=1": true, "replica n=1 commit=4-": false,
		"replica n=3 role=follower": false, "down n=3": true, "down n=1/3": false,
		"follower of=1 n=2 match=5 state=!probe": true, "follower of=1 n=2/3 match=5": false,
		"equal n=1/2": true, "equal n=1/3": false,
		"log n=1/2 commands=a,b,c": true, "log n=1/3 has=c": false, "log n=3 has=a,b lacks=c,d": true, "log n=1 lacks=x,b": false,
		"state n=1 commands=a,b,c": true, "state n=3 has=c": false,
		"entry n=1 index=6 term=1": true, "entry n=2 index=6 term=0": true, "entry n=1 index=2 term=2": false,
		"outcome n=1 proposal=1 is=applied": true, "outcome n=1 proposal=2 is=open": true, "outcome n=2 proposal=1 is=maybe": false,
		"sent type=Vote from=1 to=2/3 count=2": true, "sent type=Vote from=1 since=elected": false,
		"never sent type=Vote since=elected": true, "never sent type=Vote": false, "sent type=Vote count=3+": false,
		"sent type=Replicate from=1 to=2 through=4 commands=a,b": true, "sent type=Propose from=2 commands=c count=2": false,
		"answer n=2 call=propose reason=none": true, "answer n=2 call=propose reason=!none": false,
		"event n=1 kind=leader-changed leader=1": true, "never event n=1 kind=leader-changed": false,
		"applied n=1 first=3 last=4 kind=commands commands=a,b": true, "applied n=1 kind=no-op count=2": false,
		"write n=1 first=3 last=4 count=1": true, "never read n=1": true, "never refused": true, "log-read": false,
	} {
		if why := s.holds(line); (why == "") != want {
			t.Errorf("%q: %t, want %t: %s", line, why == "", want, why)
		}
	}
}
