package engine

import (
	"testing"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// stageBatch is how many commands the benchmarks put into a batch: what the main benchmark finds in one.
const stageBatch = 200

var stageLimits = queueLimits{maxCommand: 1 << 20, maxBatchBytes: 1 << 20, maxOpenBytes: 8 << 20}

// BenchmarkProposalQueue is the way of commands with callbacks into an open batch, and of the batch out of the queue.
func BenchmarkProposalQueue(b *testing.B) {
	q := &proposalQueue{takeAt: 1}
	command := []byte("sixteen bytes ok")
	completion := func(rsm.Result, error) {}
	b.ReportAllocs()
	for b.Loop() {
		for range stageBatch {
			if _, _, _, err := q.add(&stageLimits, command, 0, nil, completion); err != nil {
				b.Fatal(err)
			}
		}
		if p, _ := q.take(&stageLimits, 0, true); p == nil || p.count != stageBatch {
			b.Fatal("the batch was not taken")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*stageBatch), "ns/command")
}

// BenchmarkRefusal is what an overloaded host pays for a proposal that it does not take.
func BenchmarkRefusal(b *testing.B) {
	command := []byte("sixteen bytes ok")
	completion := func(rsm.Result, error) {}
	b.Run("published", func(b *testing.B) { // the step worker has said that the shard is busy
		busy := ErrBusy
		r := &Replica{}
		r.refusal.Store(&busy)
		b.ReportAllocs()
		for b.Loop() {
			if err := r.Propose(command, 0, completion); err == nil {
				b.Fatal("accepted")
			}
		}
	})
	b.Run("full queue", func(b *testing.B) { // nobody has said so yet
		q := &proposalQueue{takeAt: 1}
		limits := stageLimits
		limits.maxOpenBytes = 64
		for {
			if _, _, _, err := q.add(&limits, command, 0, nil, completion); err != nil {
				break
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, _, _, err := q.add(&limits, command, 0, nil, completion); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}

// instantStore is a log store whose commits are durable at once.
type instantStore struct{ logdb.LogDB }

func (instantStore) Commit(_ []logdb.Group, done func(error)) { done(nil) }

// smallGroup is a group of a few hundred bytes.
type smallGroup struct{ logdb.Group }

func (smallGroup) Bytes() int { return 300 }

// BenchmarkLogWriter is the gathering of the groups of many shards into one commit, and the way back of its completion.
func BenchmarkLogWriter(b *testing.B) {
	e := &Engine{}
	e.options.LogDB = instantStore{}
	w := newLogWriter(e)
	completed := 0
	item := writeItem{group: smallGroup{}, done: func(error) { completed++ }}
	const groups = 24
	b.ReportAllocs()
	for b.Loop() {
		for range groups {
			w.submit(item)
		}
		w.RunOnce(0)
	}
	if completed != b.N*groups {
		b.Fatalf("%d of %d groups were completed", completed, b.N*groups)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*groups), "ns/group")
}

// BenchmarkCompletion is the answering of a batch whose entries were applied.
func BenchmarkCompletion(b *testing.B) {
	completions := make([]Completion, stageBatch)
	answered := 0
	for i := range completions {
		completions[i] = func(rsm.Result, error) { answered++ }
	}
	entries := make([]rsm.Entry, stageBatch)
	p := &pendingBatch{arena: make([]byte, raftpb.HeaderSize), count: stageBatch, completions: make([]Completion, stageBatch)}
	b.ReportAllocs()
	for b.Loop() {
		copy(p.completions, completions)
		p.claimed.Store(0)
		p.settled.Store(0)
		p.complete(0, entries, nil)
	}
	if answered != b.N*stageBatch {
		b.Fatalf("%d of %d were answered", answered, b.N*stageBatch)
	}
}
