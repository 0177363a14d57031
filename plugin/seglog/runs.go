package seglog

// run is where a batch is: 32 bytes.
type run struct {
	first, term uint64
	count       uint32
	segment     uint32
	offset      uint32 // of the batch's bytes
	length      uint32
}

func (r *run) last() uint64 { return r.first + uint64(r.count) - 1 }

// The runs of a replica are one slice, whose room beyond its length is bounded: with a hundred thousand logs of a few batches each, what append would
// leave free, and what a compaction leaves free in front, is most of the memory of the index. A batch has at most twice its 32 bytes, and a log
// without batches has none.

// roomForRun returns the runs with room for one more: half as many again while there are few, a quarter if there are more.
func roomForRun(runs []run) []run {
	n := len(runs)
	if n < cap(runs) {
		return runs
	}
	more := n / 2
	if n > 16 {
		more = n / 4
	}
	return append(make([]run, 0, n+1+more), runs...)
}

// shrinkRuns gives memory back that runs which were dropped have left, once it is more than the rest takes. Half of that is kept: a
// log goes on to where it was before its compaction.
func shrinkRuns(runs []run) []run {
	n := len(runs)
	if n == 0 {
		return nil
	}
	if cap(runs) <= 2*n {
		return runs
	}
	return append(make([]run, 0, n+n/2), runs...)
}

// fitRuns leaves no room. A log whose directory was just opened may never go on.
func fitRuns(runs []run) []run {
	if len(runs) == 0 {
		return nil
	}
	if cap(runs) == len(runs) {
		return runs
	}
	return append(make([]run, 0, len(runs)), runs...)
}
