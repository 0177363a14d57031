package engine

import (
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// pendingTable finds the pendingBatch of a committed batch by its origin. Sequences are consecutive, so it is a deque, not a
// map. Owned by the step worker.
type pendingTable struct {
	base  uint64 // sequence of items[0]
	items []*pendingBatch
	bytes int
}

// add numbers a batch that is about to leave the queue.
func (t *pendingTable) next() uint64 { return t.base + uint64(len(t.items)) }

func (t *pendingTable) push(p *pendingBatch, bytes int) {
	p.bytes = bytes
	t.items = append(t.items, p)
	t.bytes += bytes
}

// pop takes back the batch that was pushed last: the core has refused it, and its sequence is used again.
func (t *pendingTable) pop() {
	last := len(t.items) - 1
	t.bytes -= t.items[last].bytes
	t.items[last] = nil
	t.items = t.items[:last]
}

// find returns the batch that waits under origin's sequence, or nil. The caller has compared replica and session; the
// count is compared here, which completes the match of R1.
func (t *pendingTable) find(origin raftpb.Origin) *pendingBatch {
	if origin.Sequence < t.base || origin.Sequence >= t.base+uint64(len(t.items)) {
		return nil
	}
	p := t.items[origin.Sequence-t.base]
	if p == nil || p.count != origin.Count {
		return nil
	}
	return p
}

// trim forgets what is over at the front.
func (t *pendingTable) trim() {
	n := 0
	for n < len(t.items) && (t.items[n] == nil || t.items[n].over()) {
		if p := t.items[n]; p != nil {
			t.bytes -= p.bytes
		}
		t.items[n] = nil
		n++
	}
	if n == 0 {
		return
	}
	t.items = t.items[n:]
	t.base += uint64(n)
	if len(t.items) == 0 {
		t.items = nil
	}
}

// oldest returns when the oldest batch that waits was taken, or raft.Never.
func (t *pendingTable) oldest() raft.Instant {
	if len(t.items) == 0 {
		return raft.Never
	}
	return t.items[0].taken
}

// failAll answers everything that waits.
func (t *pendingTable) failAll(err error) {
	for _, p := range t.items {
		if p != nil {
			p.fail(err)
		}
	}
	t.base += uint64(len(t.items))
	t.items, t.bytes = nil, 0
}
