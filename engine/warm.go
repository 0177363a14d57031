package engine

// An iteration with many inputs finds most of its replicas in memory, not in the processor's cache. What the inputs of one replica need is read
// one behind the other, for each line says where the next one is; so the replicas of the next few inputs are read side by side before
// (raft/warm.go). Nothing depends on it but time.

const (
	// warmGroup is how many replicas are read side by side: about as many reads as a processor has under way, times the lines that
	// stay in its nearest cache until they are used.
	warmGroup = 16
	// warmFrom is the number of inputs from which it pays.
	warmFrom = 64
)

// warming is a worker's scratch; owned by RunOnce.
type warming struct {
	group [warmGroup]*Replica
	sum   uint64 // of what was read, so that the reads are not left out
}

// warmBegins reports whether input i of n is the first of a group that is worth it, and how many are in it.
func warmBegins(i, n int) (size int, ok bool) {
	if i%warmGroup != 0 || n < warmFrom {
		return 0, false
	}
	return min(warmGroup, n-i), true
}

func (w *StepWorker) warmSaved(events []savedEvent, i int) {
	if size, ok := warmBegins(i, len(events)); ok {
		for k := range size {
			w.warming.group[k] = events[i+k].replica
		}
		w.warm(size)
	}
}

func (w *StepWorker) warmMessages(messages []received, i int) {
	if size, ok := warmBegins(i, len(messages)); ok {
		for k := range size {
			w.warming.group[k] = w.replicas[messages[i+k].message.ShardID]
		}
		w.warm(size)
	}
}

func (w *StepWorker) warmRequests(replicas []*Replica, i int) {
	if size, ok := warmBegins(i, len(replicas)); ok {
		sum := uint64(0)
		for _, r := range replicas[i : i+size] {
			sum += r.handedOver
		}
		w.warming.sum += sum
	}
}

func (w *StepWorker) warmTouched(i, n int) {
	if size, ok := warmBegins(i, n); ok {
		copy(w.warming.group[:], w.touched[i:i+size])
		w.warm(size)
	}
}

// warm reads what inputs touch of the replicas in the group.
func (w *StepWorker) warm(size int) {
	group, sum := w.warming.group[:size], w.warming.sum
	for _, r := range group {
		if r != nil {
			sum += r.warm()
		}
	}
	for _, r := range group {
		if r != nil && r.core != nil {
			sum += r.core.Warm() + r.machine.Applied()
		}
	}
	for _, r := range group {
		if r != nil && r.core != nil {
			sum += r.core.WarmReferred()
		}
	}
	w.warming.sum = sum
	clear(group)
}

// warm reads a word of each line of the replica that an input touches.
func (r *Replica) warm() uint64 {
	sum := r.replicaID + r.handedOver + r.promised.Term + r.toldApplied + uint64(r.wheelSlot) + r.nextRead +
		r.publishedTerm.Load() + uint64(len(r.transfers)) + uint64(len(r.pending.items)) + uint64(r.election)
	if r.queue.full.Load() {
		sum++
	}
	if len(r.routes) > 0 {
		sum += r.routes[0].replicaID
	}
	return sum
}
