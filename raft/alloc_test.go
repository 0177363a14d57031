package raft

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// fixedCache references one batch for all, so that only the core's own allocations are counted.
type fixedCache struct{}

func (fixedCache) Put(b raftpb.Batch, _ uint64) raftpb.BatchRef {
	return raftpb.BatchRef{Chunk: 1, Length: uint32(len(b))}
}
func (fixedCache) Get(raftpb.BatchRef) (raftpb.Batch, bool) { return nil, false }

// trio is three cores without a network: messages go from Output to Step.
type trio struct {
	cores [3]*Core
	out   [3]Output
	inbox []raftpb.Message
	next  uint64
	steps int
}

func newTrio(t testing.TB) *trio {
	var initial raftpb.Membership
	for id := uint64(1); id <= 3; id++ {
		initial.Members = append(initial.Members, raftpb.Member{ReplicaID: id, Kind: raftpb.Voter, Incarnation: 10 + id})
	}
	tr := &trio{}
	for i := range tr.cores {
		id := uint64(i + 1)
		core, err := New(1, Options{ShardID: testShard, ReplicaID: id, Session: 100 + id, Seed: id},
			raftpb.Stored{Bootstrap: raftpb.Bootstrap{Incarnation: 10 + id, Initial: initial, Complete: true}},
			Promised{}, fixedCache{})
		if err != nil {
			t.Fatal(err)
		}
		tr.cores[i] = core
	}
	tr.cores[0].Tick(tr.cores[0].Deadline())
	tr.run()
	if !tr.cores[0].IsLeader() {
		t.Fatal("no leader")
	}
	return tr
}

func (tr *trio) run() {
	for busy := true; busy; {
		busy = false
		for i, core := range tr.cores {
			if !core.Dirty() {
				continue
			}
			busy = true
			out := &tr.out[i]
			out.Reset()
			core.Drain(out)
			tr.inbox = append(tr.inbox[:0], out.Messages...)
			for _, s := range out.Saves {
				core.Saved(core.now, s.Number)
				tr.steps++
			}
			for _, b := range out.Apply {
				core.Applied(b.Last())
			}
			for j := range tr.inbox {
				m := &tr.inbox[j]
				tr.cores[m.To-1].Step(core.now, m)
				tr.steps++
			}
		}
	}
}

// propose makes an appended batch proposable again: the test reuses a few, as no engine may.
func (tr *trio) propose(batch raftpb.Batch) raftpb.Reason {
	batch.Stamp(0, 0)
	return tr.cores[0].Propose(tr.cores[0].now, batch)
}

func (tr *trio) batches(n int) []raftpb.Batch {
	all := make([]raftpb.Batch, n)
	for i := range all {
		tr.next++
		var b raftpb.Builder
		b.Reset(nil)
		b.Add([]byte("0123456789abcdef"))
		all[i] = b.Seal(testShard, raftpb.KindCommands, raftpb.Origin{Replica: 1, Session: 101, Sequence: tr.next}, 0)
	}
	return all
}

func TestAProposalThroughThreeCoresAllocatesNothing(t *testing.T) {
	if invariant.Enabled || raceEnabled {
		t.Skip("counts allocations of a plain build")
	}
	tr := newTrio(t)
	batches := tr.batches(16)
	turn := func() {
		for _, b := range batches {
			if reason := tr.propose(b); reason != raftpb.ReasonNone {
				t.Fatal(reason)
			}
			tr.run()
		}
	}
	for range 200 {
		turn()
	}
	if allocations := testing.AllocsPerRun(200, turn); allocations > 0.5 {
		t.Errorf("%.2f allocations for 16 batches through three cores, want none", allocations)
	}
	if committed := tr.cores[0].Commit(); committed < 16*400 {
		t.Errorf("committed only %d", committed)
	}
}

func BenchmarkProposal(b *testing.B) {
	tr := newTrio(b)
	batches := tr.batches(16)
	b.ReportAllocs()
	tr.steps = 0
	for i := 0; b.Loop(); i++ {
		if reason := tr.propose(batches[i%16]); reason != raftpb.ReasonNone {
			b.Fatal(reason)
		}
		tr.run()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(tr.steps+b.N), "ns/event")
}

func TestMinRoundTripIsTheLeastEcho(t *testing.T) {
	n := newNetwork(3, t.Errorf)
	n.advance(3 * time.Second)
	leader := n.leader()
	leader.core.Tick(leader.core.Deadline())
	n.now = leader.core.now
	n.drain(leader)
	n.now += Instant(3 * time.Millisecond)
	n.settle()
	if got := leader.core.MinRoundTrip(); got != 3*time.Millisecond {
		t.Errorf("%s, want 3ms", got)
	}
}
