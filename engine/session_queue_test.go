package engine

import (
	"testing"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// Plain commands pay for session fields only beside commands of sessions, and soon after there are none any more they pay nothing.
func TestBatchesHaveSessionFieldsWhileThereAreSessions(t *testing.T) {
	q := &proposalQueue{takeAt: 1}
	propose := func(fields *SessionFields) {
		t.Helper()
		if _, _, _, err := q.add(&testLimits, []byte("c"), 0, fields, func(rsm.Result, error) {}); err != nil {
			t.Fatal(err)
		}
	}
	taken := func() (fields []bool) {
		for {
			p, _ := q.take(&testLimits, 0, true)
			if p == nil {
				return fields
			}
			fields = append(fields, p.fields)
		}
	}
	call := &SessionFields{Client: 1, Series: 2, Responded: 1}
	for i, step := range []struct {
		proposals []*SessionFields
		want      []bool
	}{
		{[]*SessionFields{nil, nil}, []bool{false}},
		{[]*SessionFields{nil, call, nil, call}, []bool{false, true}},
		{[]*SessionFields{nil, call}, []bool{true}}, // one batch, for the last one had a session
		{[]*SessionFields{nil}, []bool{true}},
		{[]*SessionFields{nil}, []bool{false}}, // the last one had none
	} {
		for _, fields := range step.proposals {
			propose(fields)
		}
		got := taken()
		if len(got) != len(step.want) {
			t.Fatalf("step %d: batches %v, want %v", i, got, step.want)
		}
		for j := range got {
			if got[j] != step.want[j] {
				t.Fatalf("step %d: batches %v, want %v", i, got, step.want)
			}
		}
	}
	// A proposal for a term is alone and plain, whatever went before.
	propose(call)
	taken()
	if _, _, _, err := q.add(&testLimits, nil, 7, nil, func(rsm.Result, error) {}); err != nil || q.open[0].fields {
		t.Fatalf("%v, %+v", err, q.open[0])
	}
}

// Sessions and plain commands cost the same allocations: none but for what holds them all.
func TestAllocationsOfProposalsWithSessions(t *testing.T) {
	if invariant.Enabled {
		t.Skip("allocation budgets run without the invariants tag")
	}
	limits := queueLimits{maxCommand: 1 << 20, maxBatchBytes: 1 << 24, maxOpenBytes: 1 << 26}
	done := func(rsm.Result, error) {}
	for name, session := range map[string]bool{"plain": false, "sessions": true} {
		q := &proposalQueue{takeAt: 1, lastBytes: 1 << 20, lastCount: 10_000, lastSessions: session}
		fields := &SessionFields{Client: 1 << 50}
		var given *SessionFields
		if session {
			given = fields
		}
		if n := testing.AllocsPerRun(5000, func() {
			fields.Series++
			if _, _, _, err := q.add(&limits, []byte("sixteen bytes ok"), 0, given, done); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations per proposal, want none", name, n)
		}
		p, _ := q.take(&limits, 0, true)
		seal := raftpb.SealArena
		if p.fields {
			seal = raftpb.SealSessionArena
		}
		batch := seal(p.arena, p.count, 1, raftpb.KindCommands, raftpb.Origin{}, 0)
		if err := batch.VerifyEntries(); err != nil || p.fields != session {
			t.Errorf("%s: %v", name, err)
		}
	}
}
