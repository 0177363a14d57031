package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// readHistory checks reads, by rounds and by leases, and what replicas say of how fresh their state is: all of it against
// what was committed anywhere, and when. All cores of a network have one clock.
type readHistory struct {
	commits []commitMoment // ascending in both
	floors  map[[2]uint64]uint64
	told    map[uint64]Freshness
}

type commitMoment struct {
	at    Instant
	index uint64
}

func (h *readHistory) highest() uint64 {
	if len(h.commits) == 0 {
		return 0
	}
	return h.commits[len(h.commits)-1].index
}

// before returns what was committed before an instant.
func (h *readHistory) before(at Instant) uint64 {
	for i := len(h.commits) - 1; i >= 0; i-- {
		if h.commits[i].at < at {
			return h.commits[i].index
		}
	}
	return 0
}

// read asks a core and notes what the answer has to reflect.
func (n *network) read(node *testNode, id uint64) raftpb.Reason {
	n.reading.floors[[2]uint64{node.session, id}] = n.reading.highest()
	return node.core.ReadIndex(n.now, id)
}

func (n *network) checkRead(node *testNode, r *ReadState) {
	if floor := n.reading.floors[[2]uint64{node.session, r.ID}]; r.Index < floor {
		n.violate("read %d of %d is served at %d, and %d was committed before it began (by lease: %t)", r.ID, node.id, r.Index, floor, r.Lease)
	}
}

// checkReads runs after every step of a core.
func (n *network) checkReads(node *testNode) {
	h := &n.reading
	if commit := node.core.Commit(); commit > h.highest() {
		h.commits = append(h.commits, commitMoment{n.now, commit})
	}
	newest, applied := node.core.Freshness()
	if newest == h.told[node.id] {
		return
	}
	h.told[node.id] = newest
	for _, f := range []Freshness{newest, applied} {
		if committed := h.before(f.At); f.Index < committed {
			n.violate("replica %d says that entry %d is all of %d, and %d was committed before", node.id, f.Index, f.At, committed)
		}
	}
}
