package seglog

// warmGroup is how many replicas of a group are read side by side.
const warmGroup = 16

// warm reads, with every sixteenth operation, what the next replicas' records change, and where their runs end. A group of a thousand
// busy logs finds all of them in memory only; the reads of different replicas do not wait for each other. The sum keeps them from being left out.
func (w *writer) warm(i int) {
	if i%warmGroup != 0 || len(w.owners) < warmGroup {
		return
	}
	next, sum := w.owners[i:min(i+warmGroup, len(w.owners))], w.warmed
	for _, r := range next {
		if r != nil {
			sum += r.last + uint64(r.stateAt)
		}
	}
	for _, r := range next {
		if r == nil {
			continue
		}
		if n := len(r.runs); n > 0 {
			sum += r.runs[n-1].first
		}
	}
	w.warmed = sum
}
