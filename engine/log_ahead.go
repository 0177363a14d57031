package engine

import (
	"time"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

const (
	// maxAheadReads bounds what is read ahead and not asked for yet, at the most that one message holds each.
	maxAheadReads = 32
	// aheadLife is how long something read ahead is kept: a follower that goes on asks within a round trip, others never do.
	aheadLife = 5 * time.Second
)

// aheads is what was read, is being read or is to be read before it was asked for: at most one piece for each reader of a log, a follower
// or a state machine.
//
// A piece is found by the index that it begins at, and by term and generation of the log of the request before it. The log may have been cut
// between that request and the read: then the next request has another generation and the piece is for nobody. Whatever a core is given it
// compares with what its log has there (R7).
type aheads struct {
	pieces map[aheadKey]*aheadRead
	order  []*aheadRead // oldest first
}

// aheadKey says for whom: the replica whose log it is, and the follower, 0 for its own state machine.
type aheadKey struct {
	replica  *Replica
	follower uint64
}

// aheadRead is one piece. It is planned, then under way, then there.
type aheadRead struct {
	key     aheadKey
	request raft.LogRead
	at      raft.Instant
	begun   bool
	there   bool
	batches []raftpb.Batch
	waiter  *logReadRequest // it was asked for while it was under way
}

// What take has found.
type aheadState uint8

const (
	aheadNothing aheadState = iota
	aheadComing
	aheadThere
)

func newAheads() aheads { return aheads{pieces: make(map[aheadKey]*aheadRead)} }

// precedes says whether a piece is to begin where a request does, in the same log.
func (a *aheadRead) precedes(request *raft.LogRead) bool {
	return request.From == a.request.From && request.Term == a.request.Term && request.Generation == a.request.Generation
}

// serves says whether a piece is what a request wants: what the same core would have got from the store.
func (a *aheadRead) serves(request *raft.LogRead, batches []raftpb.Batch) bool {
	if !a.precedes(request) || len(batches) == 0 || batches[len(batches)-1].Last() > request.To {
		return false
	}
	bytes := 0
	for _, batch := range batches {
		bytes += len(batch)
	}
	return bytes <= request.MaxBytes || len(batches) == 1
}

// plan notes what may be asked for next, unless that was all, or too much is waiting to be asked for.
func (a *aheads) plan(r *logReadRequest, from uint64, now raft.Instant) {
	key := aheadKey{r.replica, r.request.Follower}
	if from > r.request.To || a.pieces[key] != nil {
		return
	}
	if len(a.order) >= maxAheadReads {
		if !a.order[0].there {
			return
		}
		a.forget(a.order[0])
	}
	piece := &aheadRead{key: key, request: r.request, at: now}
	piece.request.From = from
	a.pieces[key] = piece
	a.order = append(a.order, piece)
}

// begin returns the oldest piece that is planned, nil if none is.
func (a *aheads) begin() *aheadRead {
	for _, piece := range a.order {
		if !piece.begun {
			piece.begun = true
			return piece
		}
	}
	return nil
}

// done takes what was read, and returns who has asked for it meanwhile, if somebody has: then it is theirs.
func (a *aheads) done(piece *aheadRead, batches []raftpb.Batch, err error, now raft.Instant) (waiter *logReadRequest) {
	if piece.waiter != nil || err != nil || len(batches) == 0 {
		a.forget(piece)
		return piece.waiter
	}
	piece.there, piece.batches, piece.at = true, batches, now
	return nil
}

// take looks for what a request wants. Whatever else there is for the same reader is forgotten: it went elsewhere.
func (a *aheads) take(r *logReadRequest) (aheadState, []raftpb.Batch) {
	piece := a.pieces[aheadKey{r.replica, r.request.Follower}]
	switch {
	case piece == nil:
		return aheadNothing, nil
	case piece.begun && !piece.there:
		if piece.waiter != nil || !piece.precedes(&r.request) {
			return aheadNothing, nil
		}
		waiting := *r
		piece.waiter = &waiting
		return aheadComing, nil
	}
	a.forget(piece)
	if piece.there && piece.serves(&r.request, piece.batches) {
		return aheadThere, piece.batches
	}
	return aheadNothing, nil
}

func (a *aheads) forget(piece *aheadRead) {
	delete(a.pieces, piece.key)
	for i, other := range a.order {
		if other == piece {
			a.order = append(a.order[:i], a.order[i+1:]...)
			break
		}
	}
}

// expire forgets what nobody has asked for in time.
func (a *aheads) expire(now raft.Instant) {
	for i := 0; i < len(a.order); {
		if piece := a.order[i]; piece.there && now >= piece.at+raft.Instant(aheadLife) {
			a.forget(piece)
			continue
		}
		i++
	}
}

// deadline returns when something is to be forgotten.
func (a *aheads) deadline() raft.Instant {
	next := raft.Never
	for _, piece := range a.order {
		if piece.there {
			next = min(next, piece.at+raft.Instant(aheadLife))
		}
	}
	return next
}
