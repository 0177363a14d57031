package raftpb

import (
	"strings"
	"testing"
)

func TestBatchString(t *testing.T) {
	b, _ := testBatch(10)
	c, _ := testBatch(100)
	c = c.Compress(0)
	c.Stamp(4, 10)
	piece, err := stamped(b.Clone(), 4, 100).Cut(103, 109)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		batch Batch
		want  string
	}{
		{nil, "batch(0 bytes)"},
		{NewNoOp(7), "no-op unstamped count=1 bytes=1"},
		{stamped(NewNoOp(7), 2, 5), "no-op [5,5] term=2 bytes=1"},
		{b, "commands unstamped count=10 origin=1/2/3 expected-term=4 bytes=55"},
		{piece, "commands [103,109] term=4 origin=1/2/3 piece=3/10 expected-term=4 bytes=49"},
		{c, "commands [10,109] term=4 origin=1/2/3 expected-term=4 bytes=5050 compressed"},
		{stamped(b.Clone(), 4, 100).WithoutBody(), "commands [100,109] term=4 origin=1/2/3 expected-term=4 bytes=55 body-omitted"},
		{stamped(sessionBatch(1), 4, 1), "commands [1,1] term=4 origin=1/2/3 bytes=11 sessions"},
	} {
		if got := test.batch.String(); got != test.want {
			t.Errorf("batch is\n%s, want\n%s", got, test.want)
		}
	}
}

func TestMessageString(t *testing.T) {
	for _, test := range []struct {
		message Message
		want    string
	}{
		{Message{}, "type(0) 0->0"},
		{Message{Type: MessageVote, From: 1, To: 2, ShardID: 7, Term: 3, LogIndex: 10, LogTerm: 2, Transfer: true},
			"Vote 1->2 shard=7 term=3 log=10/2 transfer"},
		{Message{Type: MessageReplicateResponse, From: 2, To: 1, Term: 3, Reason: ReasonConflict, HintIndex: 5, HintTerm: 1, Request: 8},
			"ReplicateResponse 2->1 term=3 request=8 reason=conflict hint=5/1"},
		{Message{Type: MessageReplicate, From: 1, To: 2, Term: 3, Commit: 9, Batches: []Batch{stamped(NewNoOp(7), 3, 10), NewNoOp(7)}},
			"Replicate 1->2 term=3 commit=9 {no-op [10,10] term=3 bytes=1} {no-op unstamped count=1 bytes=1}"},
		{Message{Type: MessageHeartbeat, From: 1, To: 2, Time: -5, FromIncarnation: 1, ToIncarnation: 2, FromSession: 3, ToSession: 4},
			"Heartbeat 1->2 time=-5 from-incarnation=1 to-incarnation=2 from-session=3 to-session=4"},
		{Message{Type: MessageRemoved, From: 1, To: 2, Payload: []byte("abc")}, "Removed 1->2 payload=3"},
	} {
		if got := test.message.String(); got != test.want {
			t.Errorf("message is\n%s, want\n%s", got, test.want)
		}
	}
}

// TestEveryValueHasAName also finds a name given twice.
func TestEveryValueHasAName(t *testing.T) {
	seen := make(map[string]bool)
	check := func(name string) {
		if strings.Contains(name, "(") || seen[name] {
			t.Errorf("name %q is missing or given twice", name)
		}
		seen[name] = true
	}
	for v := range MessageTypeCount - 1 {
		check((v + 1).String())
	}
	for v := range ReasonCount {
		check(v.String())
	}
	for k := KindCommands; k <= KindAudit; k++ {
		check(k.String())
	}
	for k := Voter; k <= Witness; k++ {
		check(k.String())
	}
	for g := GoalStay; g < goalCount; g++ {
		if strings.Contains(g.String(), "(") {
			t.Errorf("goal %d has no name", g)
		}
	}
	for got, want := range map[string]string{
		MessageType(200).String(): "type(200)", Reason(200).String(): "reason(200)", MemberGoal(9).String(): "goal(9)",
		Kind(0).String(): "kind(0)", Kind(200).String(): "kind(200)", MemberKind(9).String(): "member-kind(9)",
	} {
		if got != want {
			t.Errorf("value without a name is %s, want %s", got, want)
		}
	}
}
