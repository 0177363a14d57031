package raft

import (
	"sort"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// run is one batch of the log as the core remembers it: no pointer, so that long lists cost the garbage collector nothing
// and an evicted chunk of the cache is really free.
type run struct {
	first uint64
	term  uint64
	ref   raftpb.BatchRef
	count uint32
	bytes uint32
}

func (r *run) last() uint64 { return r.first + uint64(r.count) - 1 }

// raftLog is the log in memory: a list of runs for its newest part, the bytes of the tail that is not yet durable or not
// yet applied (pins), and the terms of all of it. What is older is in the log store and is read on request.
//
// Invariants: runs are contiguous and end at last; pins are the bytes of the last len(pins) runs; every run above durable
// is pinned; compacted <= durable <= last.
type raftLog struct {
	last       uint64
	durable    uint64
	generation uint64 // one higher at each truncation (R7)
	terms      termList
	runs       deque[run]
	pins       deque[raftpb.Batch]
	pinned     int // bytes in pins
	appends    int // since the oldest runs were last looked at
	cache      Cache
}

// sweepEvery is how many appends pass between two looks at the oldest runs, whose chunks may have been evicted.
const sweepEvery = 64

// newestRuns is how many runs are looked at one by one: those of a few messages under way.
const newestRuns = 4

// maxRuns bounds the list for a log whose cache never evicts.
const maxRuns = 16384

func (l *raftLog) compacted() uint64 { return l.terms.before.Index }

func (l *raftLog) lastEntry() entryID {
	return entryID{Index: l.last, Term: l.terms.term(l.last)}
}

// holds says whether the log has this very entry. It does not know about entries below the compacted one.
func (l *raftLog) holds(index, term uint64) bool {
	return index >= l.compacted() && index <= l.last && l.terms.term(index) == term
}

// append adds a batch whose header fits; the batch is pinned until it is durable and applied.
func (l *raftLog) append(b raftpb.Batch, chunk uint64) {
	if b.First() != l.last+1 {
		invariant.Fail("append of entry %d after %d", b.First(), l.last)
	}
	l.terms.append(b.Term(), b.First())
	l.runs.push(run{
		first: b.First(), term: b.Term(), count: b.Count(), bytes: uint32(len(b)), ref: l.cache.Put(b, chunk),
	})
	l.pins.push(b)
	l.pinned += len(b)
	l.last = b.Last()
	if l.appends++; l.appends >= sweepEvery {
		l.sweep()
	}
}

// sweep drops the oldest runs whose bytes are gone. Chunks are evicted oldest first, so it stops at the first hit.
func (l *raftLog) sweep() {
	l.appends = 0
	for l.runs.len() > l.pins.len() {
		if _, ok := l.cache.Get(l.runs.front().ref); ok && l.runs.len() <= maxRuns {
			return
		}
		l.runs.popFront()
	}
}

// find returns the position of the run that holds index, or false if it is not remembered. What is asked for is nearly always among the
// newest; only for the others the oldest run is looked at, whose memory nobody has touched for long.
func (l *raftLog) find(index uint64) (int, bool) {
	n := l.runs.len()
	if n == 0 || index > l.last {
		return 0, false
	}
	for i := n - 1; i >= max(0, n-newestRuns); i-- {
		if index >= l.runs.at(i).first {
			return i, true
		}
	}
	if index < l.runs.front().first {
		return 0, false
	}
	return sort.Search(n, func(i int) bool { return l.runs.at(i).last() >= index }), true
}

// bytes returns the batch of the i-th run, or false if it has to be read from the log store.
func (l *raftLog) bytes(i int) (raftpb.Batch, bool) {
	if p := i - (l.runs.len() - l.pins.len()); p >= 0 {
		return *l.pins.at(p), true
	}
	r := l.runs.at(i)
	b, ok := l.cache.Get(r.ref)
	return b, ok && len(b) == int(r.bytes) && b.First() == r.first && b.Term() == r.term
}

// truncate removes the entries from index on, which must be the first of a run, and returns nothing to keep; the caller
// appends the kept piece of a cut run again. The durable index falls at once (R6).
func (l *raftLog) truncate(index uint64) {
	for l.runs.len() > 0 && l.runs.back().first >= index {
		l.runs.popBack()
		if l.pins.len() > 0 {
			l.pinned -= len(*l.pins.back())
			l.pins.popBack()
		}
	}
	l.terms.truncate(index)
	l.last = index - 1
	l.durable = min(l.durable, l.last)
	l.generation++
}

// unpin releases the bytes of the oldest pinned runs that are durable, in front of unsaved (the first entry that is in no
// write yet), and either at or below handed, the last entry that was handed over for apply, or beyond the budget.
func (l *raftLog) unpin(handed, unsaved uint64, budget int) {
	for l.pins.len() > 0 {
		last := l.runs.at(l.runs.len() - l.pins.len()).last()
		if last > l.durable || last >= unsaved || last > handed && l.pinned <= budget {
			return
		}
		l.pinned -= len(*l.pins.front())
		l.pins.popFront()
	}
}

// reset empties the log and makes it begin behind an entry.
func (l *raftLog) reset(before entryID) {
	l.runs.clear()
	l.pins.clear()
	l.pinned = 0
	l.terms = termList{before: before}
	l.last, l.durable = before.Index, before.Index
	l.generation++
}

// compact forgets the log up to index.
func (l *raftLog) compact(index uint64) {
	l.terms.compact(index)
	for l.runs.len() > l.pins.len() && l.runs.front().last() <= index {
		l.runs.popFront()
	}
}
