package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// termList answers which term an entry has without reading the log. It holds one element per term, so it stays short.
//
// Invariant: starts ascend strictly in Term and First; the first covers the entries right after before.Index.
type termList struct {
	before entryID // the entry in front of the log: compacted, or zero
	starts []raftpb.TermStart
}

// entryID is an entry's place: two logs that hold the same entryID agree up to it (Log Matching, thesis 3.5). As a
// claim about a log's end, entryIDs are ordered by term and then index (thesis 3.6.1).
type entryID struct {
	Index, Term uint64
}

func (a entryID) atLeast(b entryID) bool {
	return a.Term > b.Term || a.Term == b.Term && a.Index >= b.Index
}

// term returns the term of an entry in [before.Index, last]; the caller has checked the range.
func (t *termList) term(index uint64) uint64 {
	for i := len(t.starts) - 1; i >= 0; i-- {
		if t.starts[i].First <= index {
			return t.starts[i].Term
		}
	}
	return t.before.Term
}

// append notes that the entries from first on have term.
func (t *termList) append(term, first uint64) {
	if n := len(t.starts); n > 0 && t.starts[n-1].Term == term {
		return
	}
	t.starts = append(t.starts, raftpb.TermStart{Term: term, First: first})
}

// truncate forgets the entries from index on.
func (t *termList) truncate(index uint64) {
	n := len(t.starts)
	for n > 0 && t.starts[n-1].First >= index {
		n--
	}
	t.starts = t.starts[:n]
}

// compact moves the front of the log to just after index.
func (t *termList) compact(index uint64) {
	t.before = entryID{Index: index, Term: t.term(index)}
	drop := 0
	for drop+1 < len(t.starts) && t.starts[drop+1].First <= index+1 {
		drop++
	}
	t.starts = append(t.starts[:0], t.starts[drop:]...)
	if len(t.starts) > 0 && t.starts[0].First <= index {
		t.starts[0].First = index + 1
	}
}

// lastAtMost returns the highest entry in [before.Index, index] whose term is at most term: where two logs can agree at
// best when one has (index, term). Each exchange of it skips at least one whole term.
func (t *termList) lastAtMost(index, term uint64) entryID {
	for i := len(t.starts) - 1; i >= 0; i-- {
		if t.starts[i].First > index {
			continue
		}
		if t.starts[i].Term <= term {
			return entryID{Index: index, Term: t.starts[i].Term}
		}
		index = t.starts[i].First - 1
	}
	return entryID{Index: min(index, t.before.Index), Term: t.before.Term}
}

// agreeEnd returns the last index in [first-1, last] up to which all entries from first on have term.
func (t *termList) agreeEnd(first, last, term uint64) uint64 {
	for i := len(t.starts) - 1; i >= 0; i-- {
		if t.starts[i].First > last {
			continue
		}
		if t.starts[i].Term == term && t.starts[i].First <= first {
			return last
		}
		if t.starts[i].First <= first {
			return first - 1
		}
		last = t.starts[i].First - 1
	}
	return first - 1
}
