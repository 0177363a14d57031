package engine

import (
	"errors"
	"testing"

	"github.com/flotilla-raft/flotilla/rsm"
)

// TestAQueueThatHadNoRoomAcceptsAgain: whatever makes room lowers the flag that callers see without the lock.
func TestAQueueThatHadNoRoomAcceptsAgain(t *testing.T) {
	limits := queueLimits{maxCommand: 1 << 20, maxBatchBytes: 64, maxOpenBytes: 256}
	command, done := make([]byte, 16), func(rsm.Result, error) {}
	for name, makeRoom := range map[string]func(*proposalQueue){
		"taken":    func(q *proposalQueue) { q.take(&limits, 0, true) },
		"expired":  func(q *proposalQueue) { q.age(5, 5) },
		"refused":  func(q *proposalQueue) { q.takeOpen() },
		"reopened": func(q *proposalQueue) { q.takeAll(errors.New("closed")); q.reopen() },
	} {
		q := &proposalQueue{takeAt: 1}
		var err error
		for range 100 {
			if _, _, _, err = q.add(&limits, command, 0, nil, done); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrBusy) || !q.full.Load() {
			t.Fatalf("the queue takes everything: %v", err)
		}
		if _, _, _, err := q.add(&limits, nil, 0, nil, done); !errors.Is(err, ErrBusy) {
			t.Errorf("a smaller command got ahead: %v", err)
		}
		makeRoom(q)
		if _, _, _, err := q.add(&limits, command, 0, nil, done); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAllocationsOfARefusal: neither of the two ways to refuse a proposal makes garbage.
func TestAllocationsOfARefusal(t *testing.T) {
	command, done := make([]byte, 16), func(rsm.Result, error) {}
	busy := ErrBusy
	r := &Replica{}
	r.refusal.Store(&busy)
	q := &proposalQueue{takeAt: 1}
	limits := queueLimits{maxCommand: 1 << 20, maxBatchBytes: 64, maxOpenBytes: 16}
	if _, _, _, err := q.add(&limits, command, 0, nil, done); err != nil {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(100, func() {
		if r.Propose(command, 0, done) == nil {
			t.Fatal("accepted by a replica that refuses")
		}
		if _, _, _, err := q.add(&limits, command, 0, nil, done); err == nil {
			t.Fatal("accepted by a full queue")
		}
	})
	if allocs != 0 {
		t.Errorf("%g allocations", allocs)
	}
}
