package engine

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

var testLimits = queueLimits{maxCommand: 1 << 10, maxBatchBytes: 4 << 10, maxOpenBytes: 16 << 10}

func add(t *testing.T, q *proposalQueue, command string, completion Completion) (*pendingBatch, bool) {
	t.Helper()
	if completion == nil {
		completion = func(rsm.Result, error) {}
	}
	p, _, signal, err := q.add(&testLimits, []byte(command), 0, nil, completion)
	if err != nil {
		t.Fatal(err)
	}
	return p, signal
}

// The rule of the open batch, step by step.
func TestALoneProposalNeverWaitsAndOthersGather(t *testing.T) {
	q := &proposalQueue{takeAt: 1}
	if _, signal := add(t, q, "a", nil); !signal {
		t.Fatal("the first proposal did not signal")
	}
	if _, signal := add(t, q, "b", nil); signal {
		t.Fatal("the second proposal signalled again")
	}
	p, _ := q.take(&testLimits, 0, true)
	if p == nil || p.count != 2 {
		t.Fatalf("took %+v, want both", p)
	}
	if p, waiting := q.take(&testLimits, 2, false); p != nil || !waiting {
		t.Fatal("an empty queue behind a batch in flight has to be looked at again after the commit")
	}
	for i := range 3 {
		if _, signal := add(t, q, "c", nil); signal {
			t.Fatalf("proposal %d signalled although less than twice the entries in flight wait", i)
		}
	}
	if p, waiting := q.take(&testLimits, 2, false); p != nil || !waiting {
		t.Fatal("taken below twice the entries in flight")
	}
	if _, signal := add(t, q, "d", nil); !signal {
		t.Fatal("the fourth proposal did not signal at twice the entries in flight")
	}
	if p, _ = q.take(&testLimits, 2, false); p == nil || p.count != 4 {
		t.Fatalf("took %+v, want the four that waited", p)
	}
}

func TestAFullBatchIsTakenAndTheQueueIsBounded(t *testing.T) {
	q := &proposalQueue{takeAt: 1}
	command := make([]byte, 1000)
	var err error
	added := 0
	for ; err == nil; added++ {
		_, _, _, err = q.add(&testLimits, command, 0, nil, func(rsm.Result, error) {})
	}
	if !errors.Is(err, ErrBusy) || added < 15 || added > 18 {
		t.Fatalf("%d commands were accepted, then %v", added, err)
	}
	taken := uint32(0)
	for {
		p, _ := q.take(&testLimits, 1_000_000, false)
		if p == nil {
			break
		}
		if len(p.arena) > testLimits.maxBatchBytes+raftpb.HeaderSize {
			t.Fatalf("a batch of %d bytes", len(p.arena))
		}
		taken += p.count
	}
	if int(taken) < added-1-4 {
		t.Fatalf("full batches with %d commands were taken of %d", taken, added-1)
	}
}

func TestAProposalForATermIsAlone(t *testing.T) {
	q := &proposalQueue{takeAt: 1}
	add(t, q, "a", nil)
	if _, _, _, err := q.add(&testLimits, []byte("b"), 7, nil, func(rsm.Result, error) {}); err != nil {
		t.Fatal(err)
	}
	add(t, q, "c", nil)
	for i, want := range []uint64{0, 7, 0} {
		p, _ := q.take(&testLimits, 0, true)
		if p == nil || p.count != 1 || p.expectedTerm != want {
			t.Fatalf("batch %d is %+v", i, p)
		}
	}
}

func TestAClosedQueueRefuses(t *testing.T) {
	q := &proposalQueue{takeAt: 1}
	add(t, q, "a", nil)
	batches, _ := q.takeAll(ErrStopped)
	if len(batches) != 1 {
		t.Fatalf("%d batches", len(batches))
	}
	if _, _, _, err := q.add(&testLimits, nil, 0, nil, nil); !errors.Is(err, ErrStopped) {
		t.Fatalf("accepted: %v", err)
	}
	if _, _, err := q.addRead(10, nil, nil); !errors.Is(err, ErrStopped) {
		t.Fatalf("read accepted: %v", err)
	}
}

// Results, a deadline and a stop race for the same waiters: each is answered once.
func TestEveryWaiterIsAnsweredOnceWhoeverComesFirst(t *testing.T) {
	for round := range 200 {
		const count = 64
		answers := make([]int, count)
		var mu sync.Mutex
		q := &proposalQueue{takeAt: 1}
		for i := range count {
			if i%3 == 0 {
				if _, _, _, err := q.add(&testLimits, []byte{byte(i)}, 0, nil, nil); err != nil {
					t.Fatal(err)
				}
				continue
			}
			add(t, q, fmt.Sprint(i), func(rsm.Result, error) {
				mu.Lock()
				answers[i]++
				mu.Unlock()
				if i%7 == 0 {
					panic("a caller's mistake")
				}
			})
		}
		p, _ := q.take(&testLimits, 0, true)
		p.prepare()
		entries := make([]rsm.Entry, count/2)
		var group sync.WaitGroup
		group.Go(func() { p.complete(0, entries, nil); p.complete(count/2, entries, nil) })
		group.Go(func() { p.fail(errTimeoutUnknown) })
		if round%2 == 0 {
			group.Go(func() { p.fail(errStoppedUnknown) })
		}
		<-p.group.done
		group.Wait()
		for i, n := range answers {
			if want := min(i%3, 1); n != want {
				t.Fatalf("round %d: waiter %d was called %d times, want %d", round, i, n, want)
			}
		}
	}
}

func TestUnknownErrorsSaySo(t *testing.T) {
	for _, err := range []error{errTimeoutUnknown, errLeaderChangedUnknown, errStoppedUnknown, errQuarantinedUnknown, errFencedUnknown} {
		if !MaybeApplied(err) {
			t.Errorf("%v does not say that it may be applied", err)
		}
	}
	if MaybeApplied(ErrBusy) || MaybeApplied(ErrTimeout) || !errors.Is(errTimeoutUnknown, ErrTimeout) {
		t.Error("certain errors have to stay certain")
	}
}

func TestCompletionNeedsTheWholeOrigin(t *testing.T) {
	table := pendingTable{base: 5}
	table.push(&pendingBatch{count: 3}, 0)
	origin := raftpb.Origin{Replica: 1, Session: 2, Sequence: 5, Count: 3}
	if table.find(origin) == nil {
		t.Fatal("the batch was not found by its own origin")
	}
	for name, other := range map[string]raftpb.Origin{
		"sequence below": {Sequence: 4, Count: 3}, "sequence above": {Sequence: 6, Count: 3}, "count": {Sequence: 5, Count: 2},
	} {
		if table.find(other) != nil {
			t.Errorf("found although %s differs", name)
		}
	}
}

// Under steady load the table is never empty, and still what it counts falls with every batch that ends.
func TestPendingBytesFallWithEveryBatch(t *testing.T) {
	table := pendingTable{base: 1}
	done := func(rsm.Result, error) {}
	batch := func() *pendingBatch { return &pendingBatch{count: 1, completions: []Completion{done}} }
	last := batch()
	table.push(last, 100)
	for range 10 {
		next := batch()
		table.push(next, 100)
		last.fail(ErrStopped)
		last = next
		table.trim()
		if table.bytes != 100 {
			t.Fatalf("%d bytes are counted for one batch of 100", table.bytes)
		}
	}
}

// Large limits and empty commands: a batch never holds more entries than the format can say, which would fence the replica.
func TestABatchHoldsNoMoreEntriesThanTheFormat(t *testing.T) {
	q := &proposalQueue{takeAt: 1}
	add(t, q, "", nil)
	q.open[0].count = raftpb.MaxBatchEntries
	add(t, q, "", nil)
	if len(q.open) != 2 || q.open[0].count != raftpb.MaxBatchEntries || q.open[1].count != 1 {
		t.Errorf("%d batches, the first of %d entries", len(q.open), q.open[0].count)
	}
}
