package engine

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// A piece read ahead serves the request that begins where it does, in the same term and generation of the log, and no other.
func TestWhatIsReadAheadServesTheNextRequestOnly(t *testing.T) {
	replica := &Replica{}
	first := logReadRequest{replica, raft.LogRead{Follower: 2, From: 1, To: 9, MaxBytes: 1000, Term: 3, Generation: 4}}
	batches := []raftpb.Batch{logdbtest.Batch(1, 3, 5, 2, 20), logdbtest.Batch(1, 3, 7, 2, 20)}
	for name, test := range map[string]struct {
		change func(*logReadRequest)
		want   aheadState
	}{
		"the next":             {func(*logReadRequest) {}, aheadThere},
		"from elsewhere":       {func(r *logReadRequest) { r.request.From = 6 }, aheadNothing},
		"of another term":      {func(r *logReadRequest) { r.request.Term++ }, aheadNothing},
		"of a log that is cut": {func(r *logReadRequest) { r.request.Generation++ }, aheadNothing},
		"up to less":           {func(r *logReadRequest) { r.request.To = 7 }, aheadNothing},
		"of fewer bytes":       {func(r *logReadRequest) { r.request.MaxBytes = len(batches[0]) }, aheadNothing},
		"for another follower": {func(r *logReadRequest) { r.request.Follower = 3 }, aheadNothing},
		"of another replica":   {func(r *logReadRequest) { r.replica = &Replica{} }, aheadNothing},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAheads()
			a.plan(&first, 5, 0)
			piece := a.begin()
			if piece == nil || piece.request.From != 5 || piece.request.To != 9 || a.begin() != nil {
				t.Fatalf("planned is %+v", piece)
			}
			if waiter := a.done(piece, batches, nil, 0); waiter != nil {
				t.Fatal("somebody waited")
			}
			next := first
			next.request.From, next.request.Number = 5, 77
			test.change(&next)
			state, got := a.take(&next)
			if state != test.want || state == aheadThere && len(got) != len(batches) {
				t.Fatalf("found is %d, %d batches", state, len(got))
			}
			if state, _ := a.take(&next); state != aheadNothing {
				t.Error("it served twice")
			}
		})
	}
}

// Who asks for what is being read gets it when it is there, and only one.
func TestARequestWaitsForWhatIsBeingRead(t *testing.T) {
	a := newAheads()
	request := logReadRequest{&Replica{}, raft.LogRead{Follower: 2, From: 1, To: 9, MaxBytes: 1000}}
	for _, failure := range []error{nil, errors.New("the disk is slow and broken")} {
		a.plan(&request, 5, 0)
		piece := a.begin()
		next := request
		next.request.From = 5
		if state, _ := a.take(&next); state != aheadComing {
			t.Fatalf("found is %d", state)
		}
		if state, _ := a.take(&next); state != aheadNothing {
			t.Fatalf("found again is %d", state)
		}
		if waiter := a.done(piece, []raftpb.Batch{logdbtest.Batch(1, 1, 5, 1, 20)}, failure, 0); waiter == nil || waiter.request.From != 5 {
			t.Fatalf("waiting is %+v", waiter)
		}
		if len(a.pieces) != 0 || len(a.order) != 0 {
			t.Error("something is left")
		}
	}
}

// Nothing is planned beyond what was asked for, nor without bound, and what nobody asks for is forgotten in time.
func TestReadingAheadIsBounded(t *testing.T) {
	a := newAheads()
	whole := logReadRequest{&Replica{}, raft.LogRead{From: 1, To: 9}}
	if a.plan(&whole, 10, 0); a.begin() != nil {
		t.Error("read beyond the end")
	}
	for follower := range uint64(3 * maxAheadReads) {
		r := whole
		r.request.Follower = follower
		a.plan(&r, 5, raft.Instant(follower))
		if piece := a.begin(); piece != nil {
			a.done(piece, []raftpb.Batch{logdbtest.Batch(1, 1, 5, 1, 20)}, nil, raft.Instant(follower))
		}
	}
	if len(a.order) != maxAheadReads || len(a.pieces) != maxAheadReads {
		t.Errorf("%d pieces", len(a.order))
	}
	last := raft.Instant(3*maxAheadReads-1) + raft.Instant(aheadLife)
	if next := a.deadline(); next > last || next < raft.Instant(aheadLife) {
		t.Errorf("forgotten at %v", time.Duration(next))
	}
	if a.expire(last); len(a.order) != 0 || a.deadline() != raft.Never {
		t.Errorf("%d pieces are left", len(a.order))
	}
}
